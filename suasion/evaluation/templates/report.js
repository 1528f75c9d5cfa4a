// One page at a time by the address's #, and the filters, order and search of the examples.
// Without this script the report is one long page with every example. Given up: a framework, and state in the address.
"use strict";

const SHOWN = 48; // examples before "Show more"
const pages = [...document.querySelectorAll(".page")];
const links = [...document.querySelectorAll("header nav a")];
const title = document.title;
let page = pages[0];

function target() {
  try {
    return document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return null; // a broken % in the address
  }
}

function show(moved) {
  const found = target();
  page = (found && found.closest(".page")) || page;
  for (const other of pages) other.hidden = other !== page;
  for (const link of links) {
    if (link.hash === "#" + page.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = page.querySelector("h2").textContent.trim() + " · " + title;
  if (found && found.matches(".example")) gallery.open(found);
  else if (found && found !== page) found.scrollIntoView();
  else if (moved) {
    window.scrollTo(0, 0);
    page.querySelector("h2").focus({ preventScroll: true });
  }
}

function makeGallery() {
  const data = document.getElementById("examples-data");
  if (!data) return { open() {} };
  const examples = JSON.parse(data.textContent);
  const holder = document.querySelector(".examples");
  const controls = document.querySelector(".controls");
  const filters = [...controls.querySelectorAll("select[data-filter]")];
  const order = controls.querySelector("select[data-order]");
  const search = controls.querySelector("input[type=search]");
  const said = document.getElementById("examples-said");
  const more = document.querySelector("button.more");
  for (const example of examples) example.card = document.getElementById(example.id);
  let limit = SHOWN;

  function text(example) {
    example.text ??= example.card.textContent.toLowerCase();
    return example.text;
  }

  function fits(example, words) {
    return (
      filters.every((select) => !select.value || example[select.dataset.filter] === select.value) &&
      words.every((word) => text(example).includes(word))
    );
  }

  function update() {
    const key = order.value.replace("-", "");
    const sign = order.value.startsWith("-") ? -1 : 1;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = examples.filter((example) => fits(example, words));
    found.sort((a, b) => sign * (a[key] - b[key]) || a.n - b.n);
    for (const example of examples) example.card.hidden = true;
    for (const [at, example] of found.entries()) {
      example.card.hidden = at >= limit;
      holder.append(example.card);
    }
    const shown = Math.min(limit, found.length);
    said.textContent = found.length
      ? `${shown} of ${found.length} shown` + (found.length < examples.length ? `, ${examples.length} in all` : "")
      : "No example fits. Take a filter back, or search for something else.";
    more.hidden = found.length <= limit;
    return found;
  }

  function restart() {
    for (const card of holder.querySelectorAll(".open")) card.classList.remove("open");
    limit = SHOWN;
    update();
  }

  function open(card) {
    if (card.hidden) {
      for (const select of filters) select.value = "";
      search.value = "";
      limit = update().findIndex((example) => example.card === card) + SHOWN;
      update();
    }
    for (const other of holder.querySelectorAll(".open")) other.classList.remove("open");
    card.classList.add("open");
    card.querySelector("details").open = true;
    card.scrollIntoView();
    card.focus({ preventScroll: true });
  }

  for (const control of [...filters, order]) control.addEventListener("change", restart);
  search.addEventListener("input", restart);
  more.addEventListener("click", () => {
    const first = [...holder.children].find((card) => card.hidden);
    limit += SHOWN;
    update();
    first.focus();
  });
  update();
  return { open };
}

document.documentElement.classList.add("scripted");
const gallery = makeGallery();
window.addEventListener("hashchange", () => show(true));
show(false);
