// SPDX-License-Identifier: Apache-2.0
// stream: the one connection of this tab. It comes back by itself, a little later each time, and goes on behind the last
// event it had; what is shown meanwhile is old, and is said to be.

const STALE_MS = 30000, WAIT_MS = 1000, WAIT_MAX_MS = 15000, WAITING_MAX = 10000;

const listeners = new Map();
let jobs = [], logs = false, last = null, heard = 0, abort = null, waits = WAIT_MS, wanted = false, runs = false;

export function on(kind, listener) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(listener);
  return () => listeners.get(kind).delete(listener);
}

function call(listener, data) {
  const done = listener(data);
  if (done instanceof Promise) done.catch(() => {}); // the server is gone again: what was asked is asked behind the next hello
}

function tell(kind, data) {
  for (const listener of listeners.get(kind) || []) call(listener, data);
}

// Listens to kinds of news that have an order, wantedKinds: {kind: listener}. What was missed is read by `read` at every
// new connection; what comes meanwhile waits, so that the old is told before the new. Returns {again, leave}.
export function behind(read, wantedKinds) {
  let waiting = [], reading = 0;
  const again = async () => {
    reading++;
    try {
      await read();
    } catch (failure) {
      waiting = []; // it is read again, with what is missing before it
      throw failure;
    } finally {
      reading--;
      if (reading === 0) for (const [listener, data] of waiting.splice(0)) call(listener, data);
    }
  };
  const ends = Object.entries(wantedKinds).map(([kind, listener]) => on(kind, (data) => {
    if (reading === 0) return listener(data);
    waiting.push([listener, data]);
    if (waiting.length > WAITING_MAX) waiting.shift();
    return null;
  }));
  ends.push(on("up", again));
  return { again, leave: () => ends.forEach((end) => end()) };
}

export const staleMs = () => (heard && Date.now() - heard > STALE_MS ? Date.now() - heard : 0);

// Which jobs' points and lines come; another set begins another connection.
export function follow(wantedJobs, wantedLogs) {
  if (String(wantedJobs) === String(jobs) && wantedLogs === logs) return;
  [jobs, logs] = [wantedJobs, wantedLogs];
  if (abort) abort.abort();
}

export function start() {
  wanted = true;
  if (!runs) run();
}

export function stop() {
  wanted = false;
  heard = 0;
  if (abort) abort.abort();
}

async function run() {
  for (runs = true; wanted;) {
    abort = new AbortController();
    const { signal } = abort;
    try {
      await read(signal);
    } catch (failure) {
      if (!signal.aborted) tell("down", failure); // else another set of jobs is wanted
    }
    if (wanted && !signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, waits * (0.5 + Math.random())));
      waits = Math.min(WAIT_MAX_MS, 2 * waits);
    }
  }
  runs = false;
}

async function read(signal) {
  const query = new URLSearchParams(jobs.map((job) => ["job", job]));
  if (logs) query.set("logs", "true");
  if (last !== null) query.set("after", last);
  const response = await fetch(`/v1/stream?${query}`, { signal });
  if (response.status === 401) { // the session has ended: asking again helps nobody
    wanted = false;
    tell("out");
    return;
  }
  if (!response.ok) throw new Error(`the server says ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the server ended the stream");
    heard = Date.now();
    text += value;
    const entries = text.split("\n\n");
    text = entries.pop();
    entries.forEach(take);
  }
}

function take(entry) {
  const fields = {};
  for (const line of entry.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  if (!fields.event) return;
  const data = JSON.parse(fields.data);
  if (fields.event === "hello") {
    waits = WAIT_MS;
    if (last === null) last = data.number;
    tell("up", data);
  }
  if (fields.id) last = Number(fields.id);
  tell(fields.event, data);
}
