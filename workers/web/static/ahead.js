// The item after this one is held for the reviewer already: its page is fetched meanwhile, so that it stands there in the
// moment of a decision, which is sent behind it. Until the answer is there, nothing can be decided: it brings the lease,
// undo and the item after. Without this file, or before the page is there, forms do what forms do.
import { attach } from "./viewer.js";

const HTML = { headers: { Accept: "text/html" } };
const path = (url) => { const { pathname, search } = new URL(url, location.href); return pathname + search; };
const bar = (main) => main.querySelector(".decide");
const parse = async (answer) => new DOMParser().parseFromString(await answer.text(), "text/html");

let next = null;

// The main part of a parsed page, in this document: its pictures load from now on.
function adopt(page) {
  const main = document.importNode(page.querySelector("main"), true);
  main.querySelectorAll("[data-viewer]").forEach(attach);
  return main;
}

// All but the bar.
function evidence(page) {
  const parts = [...page.querySelector("main").children].filter((part) => part !== bar(page));
  return parts.map((part) => part.outerHTML).join();
}

export async function lookAhead() {
  next = null;
  const url = bar(document)?.dataset.ahead;
  if (!url) return;
  const answer = await fetch(url, HTML).catch(() => null);
  if (!answer?.ok || path(answer.url) !== path(url)) return;
  const page = await parse(answer);
  next = { url, page, main: adopt(page) };
  const pictures = [...next.main.querySelectorAll("img:is(.view, .blurred)")];
  await Promise.allSettled(pictures.map((picture) => picture.decode())); // drawing them takes no longer then
  delete bar(document)?.dataset.ahead; // it is there: nothing is to be fetched any more
}

function show(main, title) {
  document.querySelector("main").replaceWith(main);
  document.title = title;
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
}

// Send this decision, or skip, behind the next item; false where a form has to send itself.
export function sendBehind(form, button) {
  if (!next || !bar(document).contains(form) || !/\/(decision|skip)$/.test(new URL(form.action).pathname)) return false;
  const body = new URLSearchParams(new FormData(form, button)); // before the form is gone
  const before = { url: path(location.href), main: document.querySelector("main"), title: document.title };
  const shown = next;
  bar(shown.main).ariaBusy = "true";
  history.pushState(null, "", shown.url);
  show(shown.main, shown.page.title);
  requestAnimationFrame(() => setTimeout(send, 0, form.action, body, before, shown)); // once the item is drawn
  return true;
}

async function send(action, body, before, shown) {
  const answer = await fetch(action, { method: "POST", body, ...HTML }).catch(() => null);
  if (!answer) return takeBack(before);
  if (answer.ok && path(answer.url) !== path(shown.url)) return location.replace(answer.url);
  settle(answer.ok, await parse(answer), before, shown);
  document.dispatchEvent(new Event("settled"));
}

// What the answer says holds. The evidence stays as it stands, pictures, zoom and all, if it is the very same.
function settle(isTaken, page, before, shown) {
  if (!isTaken) history.replaceState(null, "", before.url);
  if (isTaken && evidence(page) === evidence(shown.page)) bar(shown.main).replaceWith(document.importNode(bar(page), true));
  else show(adopt(page), page.title);
}

// The decision may have arrived all the same: then sending it again says so.
function takeBack({ url, main, title }) {
  history.replaceState(null, "", url);
  main.querySelectorAll("[data-sent]").forEach((form) => delete form.dataset.sent);
  bar(main).querySelector("[role=alert]")?.remove();
  const said = "No answer came: the decision may not have been taken. Send it again.";
  bar(main).append(Object.assign(document.createElement("p"), { className: "warn", role: "alert", textContent: said }));
  show(main, title);
}

addEventListener("popstate", () => location.reload()); // back to an item whose page was never loaded
