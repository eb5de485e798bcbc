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

// All pages of a list, up to `most` entries.
export async function pages(path, field, most) {
  const all = [];
  let next;
  do {
    const reply = await get(`${path}${path.includes("?") ? "&" : "?"}limit=1000${next ? `&after=${next}` : ""}`);
    all.push(...reply[field]);
    next = reply[field].length > 0 ? reply.next : null;
  } while (next && all.length < most);
  return all;
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
