// Follows the job's event stream and puts its pieces in place; shows moments in the reader's own time.
"use strict";
const live = document.getElementById("live");

function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = units.findIndex(([, size]) => seconds >= size);
  if (at < 0) return "now";
  const [unit, size] = units[at];
  const rest = at < 3 ? Math.floor((seconds % size) / units[at + 1][1]) : 0;
  return Math.floor(seconds / size) + " " + unit + (rest ? " " + rest + " " + units[at + 1][0] : "");
}

function clock() {
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const local = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    const left = Math.round((at - Date.now()) / 1000);
    const words = "until" in time.dataset && left > 0 ? local + " (in " + span(left) + ")" : local;
    if (time.textContent !== words) time.textContent = words;
  }
}

// Puts what changed in place, part by part, so that the bar moves on instead of starting anew.
function place(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  document.title = fresh.title || document.title;
  const main = document.querySelector("main");
  const parts = [...fresh.querySelectorAll("main > [id]")];
  for (const old of [...main.children]) {
    if (!parts.some((part) => part.id === old.id)) old.remove();
  }
  parts.forEach((part, index) => {
    const old = document.getElementById(part.id);
    if (!old) main.insertBefore(document.importNode(part, true), main.children[index] || null);
    else if (!old.isEqualNode(part)) update(old, part);
  });
  clock();
}

function update(old, part) {
  const [bar, now] = [old.querySelector("progress"), part.querySelector("progress")];
  if (bar && now) {
    for (const name of ["class", "value", "max"]) {
      if (now.hasAttribute(name)) bar.setAttribute(name, now.getAttribute(name));
      else bar.removeAttribute(name);
    }
    now.replaceWith(bar);
  }
  old.replaceChildren(...[...part.childNodes].map((node) => document.adoptNode(node)));
}

clock();
setInterval(clock, 1000);
if (document.body.dataset.live === "yes") {
  const events = new EventSource(location.origin + location.pathname + "?page");
  events.onopen = () => { live.textContent = "live"; };
  events.onerror = () => { live.textContent = events.readyState === 2 ? "" : "connecting…"; };
  events.addEventListener("page", (event) => {
    place(event.data);
    if (document.getElementById("state").querySelector("h1.final")) {
      events.close();
      live.textContent = "";
    }
  });
}
