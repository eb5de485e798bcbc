// SPDX-License-Identifier: Apache-2.0
// api: requests with the browser's session. An error is an Error with the server's sentence and its hint.

let session = null;

export const who = () => session;
export const may = (role) => session && ["viewer", "submitter", "tenant_admin", "admin"].indexOf(session.role) >=
  ["viewer", "submitter", "tenant_admin", "admin"].indexOf(role);

export async function ask(method, path, body) {
  const headers = {};
  if (method !== "GET") {
    headers["Content-Type"] = "application/json";
    if (session && session.csrf) headers["X-Tailor-CSRF"] = session.csrf;
  }
  const response = await fetch(path, { method, headers, body: method === "GET" ? undefined : JSON.stringify(body || {}) });
  const text = await response.text();
  let reply = {};
  try { reply = text ? JSON.parse(text) : {}; } catch { reply = { error: { message: text } }; }
  if (!response.ok) {
    const { message, hint } = reply.error || {};
    const failure = new Error([message || `the server says ${response.status}`, hint].filter(Boolean).join(": "));
    failure.code = response.status;
    throw failure;
  }
  return reply;
}

export const get = (path) => ask("GET", path);

const PAGE_MAX = 1000; // the server's
const page = (path, after, limit) => get(`${path}${path.includes("?") ? "&" : "?"}limit=${limit}${after ? `&after=${after}` : ""}`);

// All pages of a list, up to `most` entries. Each page is told as it comes.
export async function pages(path, field, most, told = () => {}) {
  const all = [];
  let next;
  do {
    const reply = await page(path, next, PAGE_MAX);
    all.push(...reply[field]);
    told(reply[field]);
    next = reply[field].length > 0 ? reply.next : null;
  } while (next && all.length < most);
  return all;
}

// The last entries behind `from`, `most` or somewhat fewer, of a list that begins with the oldest and whose cursor is an
// entry's number. Where it ends is found by asking for one entry further and further on, then by halving.
// Returns {entries, cut, next}; cut: there are older ones; next: behind them.
export async function tail(path, field, most, from = 0) {
  const beyond = async (number) => (await page(path, number, 1))[field].length === 0;
  let low = from, high = from + most;
  while (!await beyond(high)) [low, high] = [high, high + 2 * (high - from)];
  const near = Math.max(1, Math.floor(most / 20));
  while (low > from && high - low > near) {
    const middle = Math.floor((low + high) / 2);
    if (await beyond(middle)) high = middle;
    else low = middle;
  }
  const first = Math.max(from, high - most), entries = [];
  for (let next = first; ;) {
    const reply = await page(path, next, Math.min(most, PAGE_MAX));
    entries.push(...reply[field]);
    if (reply[field].length === 0 || entries.length >= 2 * most) return { entries: entries.slice(-most), cut: first > from, next };
    next = reply.next;
  }
}

// The session that there is, or the one that the code in the address gives; null: there is none.
export async function open() {
  const code = new URLSearchParams(location.hash.slice(1)).get("login");
  if (code) {
    history.replaceState(null, "", location.pathname);
    session = await ask("POST", "/v1/login", { code, browser: true });
    return session;
  }
  try {
    session = await get("/v1/session");
  } catch (failure) {
    if (failure.code !== 401) throw failure;
    session = null;
  }
  return session;
}

export async function enter(code) {
  session = await ask("POST", "/v1/login", { code, browser: true });
}

export async function leave() {
  await ask("POST", "/v1/logout");
  session = null;
}
