# SPDX-License-Identifier: Apache-2.0
"""How fast the dashboard's page is with 10,000 jobs and 500 workers, in Chromium: see tests/bench/dashboard.sh.

    dashboard.py SITE

The page is a real tailord's; what it asks for is answered in the browser, so that the page's own time is measured and
not a server's. An update: 200 jobs and all workers at once, as much as one message of the stream holds. Printed, never judged.
"""
import sys
import time

from selenium import webdriver

UPDATES = 20
ANSWERS = """
const jobs = Array.from({length: 10000}, (_, i) => ({id: `j-${10000 - i}`, tenant: `tenant-${i % 200}`, name: `law-${i}`,
  stage: i % 5 ? "customize" : "general", state: ["queued", "running", "succeeded", "failed"][i % 4], state_since_ms: Date.now() - 1000 * i,
  step: i % 1000, steps_total: 1000, labels: {team: `t${i % 20}`, tier: "gold"}, waiting_reason: i % 4 ? undefined : "no_free_slot"}));
const workers = Array.from({length: 500}, (_, i) => ({id: `w-${i}`, name: `worker-${i}`, state: "live", slots: 8, slots_busy: i % 9,
  numerics: "cpu-avx2", last_seen_ms: Date.now()}));
const cluster = {version: "0", jobs_running: 2500, jobs_queued: 2500, workers_live: 500, slots: 4000, slots_busy: 2000, goodput: 0.9,
  store_free_bytes: 1e12, uptime_ms: 1e7, waiting: [{reason: "no_free_slot", jobs: 2500}]};
const events = Array.from({length: 1000}, (_, i) => ({number: i + 1, time_ms: Date.now(), job_id: `j-${i + 1}`, kind: "job_state", severity: "info",
  message: "running"}));
const bytes = new TextEncoder(), real = fetch;
let told;
window.send = (kind, data) => told.enqueue(bytes.encode(`event: ${kind}\\ndata: ${JSON.stringify(data)}\\n\\n`));
window.update = (n) => {
  send("jobs", {jobs: jobs.slice(0, 200).map((job) => ({...job, step: job.step + n}))});
  send("workers", {workers: workers.map((w) => ({...w, slots_busy: (w.slots_busy + n) % 9, last_seen_ms: Date.now()}))});
  send("cluster", cluster);
};
window.fetch = async (path, options) => {
  const url = new URL(path, location), after = Number((url.searchParams.get("after") || "0").replace("j-", ""));
  const limit = Number(url.searchParams.get("limit") || 1000), json = (value) => new Response(JSON.stringify(value));
  if (url.pathname === "/v1/session") return json({name: "a", role: "admin", csrf: "c"});
  if (url.pathname === "/v1/cluster") return json(cluster);
  if (url.pathname === "/v1/workers") return json({workers});
  if (url.pathname === "/v1/events") return json({events: events.filter((e) => e.number > after).slice(0, limit), next: 1000});
  if (url.pathname === "/v1/jobs") {
    const from = after ? jobs.findIndex((job) => job.id === `j-${after}`) + 1 : 0, page = jobs.slice(from, from + limit);
    return json({jobs: page, next: from + limit < jobs.length ? page[page.length - 1].id : undefined});
  }
  if (url.pathname !== "/v1/stream") return real(path, options);
  const body = new ReadableStream({start(controller) { told = controller; send("hello", {boot: "b", version: "0", number: 1000}); }});
  return new Response(body);
};
"""


def spent():
    """Seconds that the page has spent so far, by kind. Task is all of it: Script leaves out what runs behind a promise."""
    figures = {m["name"]: m["value"] for m in page.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
    return {name: figures[name + "Duration"] for name in ("Task", "Script", "Layout", "RecalcStyle")}


def measure(hash_, what):
    page.execute_script("location.hash = arguments[0]", hash_)
    time.sleep(4)
    before = spent()
    for n in range(UPDATES):
        page.execute_script("update(arguments[0])", n)
        time.sleep(0.7)
    after = spent()
    rows = page.execute_script("return document.querySelectorAll('tbody tr').length")
    print(f"{what}: " + ", ".join(f"{name} {1000 * (after[name] - before[name]) / UPDATES:.1f} ms" for name in after) +
          f" an update; {rows} rows in the page")


options = webdriver.ChromeOptions()
for word in ("--headless=new", "--no-sandbox", "--window-size=1280,900", "--disable-gpu", "--disable-dev-shm-usage"):
    options.add_argument(word)
page = webdriver.Chrome(options=options)
try:
    page.execute_cdp_cmd("Performance.enable", {})
    page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": ANSWERS})
    for attempt in ("first", "second"):
        page.get(sys.argv[1])
        time.sleep(5)
        paints = page.execute_script("return performance.getEntriesByType('paint').map((e) => [e.name, e.startTime])")
        told = page.execute_script("return document.querySelector('[role=status].quiet').textContent")
        print(f"{attempt} visit: " + ", ".join(f"{name} {ms:.0f} ms" for name, ms in paints) + f"; {told}")
    measure("#/", "the table of jobs")
    measure("#/cluster", "the cluster")
finally:
    page.quit()
