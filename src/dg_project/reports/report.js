const all = (query, root = document) => [...root.querySelectorAll(query)];
const tabs = all("[role=tab]"), zoom = document.querySelector("#zoom");

function show(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).classList.toggle("shown", chosen);
  }
}
tabs.forEach((tab, k) => {
  tab.onclick = () => show(tab);
  tab.onkeydown = event => {
    const next = {ArrowRight: tabs[k + 1] || tabs[0], ArrowLeft: tabs.at(k - 1)}[event.key];
    if (next) { show(next); next.focus(); }
  };
});
tabs.filter(tab => tab.getAttribute("aria-selected") === "true").forEach(show);

// The handle of a slider moves the edge between the two views; every slider follows, so that domains compare.
for (const handle of all(".slider input")) handle.oninput = () => all(".slider").forEach(slider => {
  slider.style.setProperty("--x", handle.value + "%");
  slider.querySelector("input").value = handle.value;
});
// A model on the left stays on the left in every domain.
for (const button of all(".side")) button.onclick = () => {
  all(".slider").forEach(slider => all(".view:not(.right)", slider).forEach((view, k) =>
    view.classList.toggle("left", k === +button.dataset.view)));
  all(".side").forEach(other => other.setAttribute("aria-pressed", other.dataset.view === button.dataset.view));
};

for (const image of all("img.zoom")) image.onclick = () => {
  Object.assign(zoom.firstChild, {src: image.src, alt: image.alt});
  zoom.showModal();
};
zoom.onclick = () => zoom.close();
addEventListener("beforeprint", () => all("details").forEach(part => { part.open = true; }));
