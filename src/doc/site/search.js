// Search over `window.clawIndex`, without a server: every word must occur, names count most.
(function () {
  "use strict";
  const box = document.getElementById("search-box");
  const list = document.getElementById("search-results");
  const root = document.body.dataset.root;
  const index = (window.clawIndex || []).map(function (entry) {
    return {
      entry: entry,
      name: entry.name.toLowerCase(),
      all: (entry.name + " " + entry.of + " " + entry.kind + " " + entry.about).toLowerCase(),
    };
  });
  // What one looks for by name comes before what only happens to have that name.
  const order = ["module", "operator", "function", "type", "stage", "parameter", "constant", "manual", "error", "argument", "field"];

  function score(one, words) {
    let sum = 0;
    for (const word of words) {
      const at = one.name.indexOf(word);
      if (one.name === word) sum += 100;
      else if (at === 0) sum += 60;
      else if (at > 0) sum += 40;
      else if (one.all.indexOf(word) >= 0) sum += 10;
      else return 0;
    }
    return sum * 100 - order.indexOf(one.entry.kind);
  }

  function element(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }

  function show() {
    const words = box.value.toLowerCase().split(/[\s.]+/).filter(Boolean);
    list.textContent = "";
    list.hidden = words.length === 0;
    if (list.hidden) return;
    const found = index
      .map(function (one) { return { one: one, score: score(one, words) }; })
      .filter(function (one) { return one.score > 0; })
      .sort(function (a, b) { return b.score - a.score || (a.one.name < b.one.name ? -1 : 1); })
      .slice(0, 30);
    for (const hit of found) {
      const entry = hit.one.entry;
      const line = document.createElement("li");
      const link = document.createElement("a");
      link.href = root + entry.to;
      link.append(element("strong", entry.name), " ", element("span", entry.kind + (entry.of ? " of " + entry.of : "")));
      link.lastChild.className = "kind";
      if (entry.about) link.append(element("small", entry.about));
      line.append(link);
      list.append(line);
    }
    if (found.length === 0) {
      const line = document.createElement("li");
      line.append(element("p", "Nothing has these words."));
      list.append(line);
    }
  }

  function step(by) {
    const links = Array.from(list.querySelectorAll("a"));
    if (links.length === 0) return;
    const at = links.indexOf(document.activeElement) + by;
    if (at < 0) box.focus();
    else links[Math.min(at, links.length - 1)].focus();
  }

  box.addEventListener("input", show);
  box.addEventListener("focus", show);
  document.addEventListener("keydown", function (event) {
    const inside = event.target === box || list.contains(event.target);
    if (event.key === "/" && !inside && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      box.focus();
    } else if (event.key === "Escape" && inside) {
      list.hidden = true;
      box.blur();
    } else if (inside && event.key === "ArrowDown") {
      event.preventDefault();
      step(1);
    } else if (inside && event.key === "ArrowUp") {
      event.preventDefault();
      step(-1);
    } else if (event.target === box && event.key === "Enter") {
      const first = list.querySelector("a");
      if (first) first.click();
    }
  });
  document.addEventListener("click", function (event) {
    if (event.target !== box && !list.contains(event.target)) list.hidden = true;
  });
  list.addEventListener("click", function () { list.hidden = true; });

  // On a phone the list of pages stands above the text: it starts closed.
  if (window.matchMedia("(max-width: 59.99rem)").matches) {
    document.getElementById("site-pages").open = false;
  }
})();
