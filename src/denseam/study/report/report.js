// Unfold what a link leads to, search the numbers, unfold everything on paper. The page is XML too:
// no angle bracket that opens, no ampersand.
(() => {
  "use strict";
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();

  const all = document.querySelector("details.all");
  const rows = [...all.querySelectorAll("tr[id]")].map((row) => [row, row.textContent.toLowerCase()]);
  const search = document.getElementById("search");
  const count = document.querySelector(".search output");
  search.parentElement.hidden = false;
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    for (const body of all.querySelectorAll("tbody")) {
      body.hidden = !body.querySelector("tr[id]:not([hidden])");
    }
    all.open = words.length > 0;
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });
})();
