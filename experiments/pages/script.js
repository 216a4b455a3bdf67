"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // From 0 (image) to 1 the truth slides in from the left; from 1 to 2, the prediction.
  function show(card, value) {
    const slider = card.querySelector(".slider");
    if (!slider) return;
    slider.value = value;
    const cut = 100 * (value <= 1 ? value : value - 1);
    const left = `inset(0 ${100 - cut}% 0 0)`, rest = `inset(0 0 0 ${cut}%)`;
    card.querySelector(".truth").style.clipPath = value <= 1 ? left : rest;
    card.querySelector(".prediction").style.clipPath = value <= 1 ? "inset(0 0 0 100%)" : left;
    const seam = card.querySelector(".seam");
    seam.style.left = `${cut}%`;
    seam.style.display = value % 1 ? "block" : "none";
    const nearest = String(Math.round(value));
    all(".stops button", card).forEach((button) => button.classList.toggle("on", button.dataset.to === nearest));
    slider.setAttribute("aria-valuetext", ["image", "truth", "prediction"][Math.round(value)]);
  }

  for (const card of all(".card")) {
    const slider = card.querySelector(".slider"), stack = card.querySelector(".stack");
    if (!slider) continue;
    slider.addEventListener("input", () => show(card, Number(slider.value)));
    all(".stops button", card).forEach((button) => button.addEventListener("click", () => show(card, Number(button.dataset.to))));
    const drag = (event) => {
      const box = stack.getBoundingClientRect();
      show(card, Math.min(2, Math.max(0, (2 * (event.clientX - box.left)) / box.width)));
    };
    stack.addEventListener("pointerdown", (event) => { stack.setPointerCapture(event.pointerId); drag(event); });
    stack.addEventListener("pointermove", (event) => { if (stack.hasPointerCapture(event.pointerId)) drag(event); });
    show(card, 2);
  }

  for (const gallery of all(".gallery")) {
    const cards = gallery.querySelector(".cards"), own = all(".card", cards);
    const [sort, filter, search] = [".sort", ".filter", ".search"].map((name) => gallery.querySelector(name));
    const count = gallery.querySelector(".count"), empty = gallery.querySelector(".empty"), first = count.textContent;
    const more = gallery.querySelector(".more"), FEW = 24;
    let most = FEW; // number of cards shown before "show all"
    const iou = own.map((card) => JSON.parse(card.dataset.iou || "[]"));

    function arrange() {
      const chosen = filter ? filter.value : "", words = search.value.trim().toLowerCase();
      const score = (index) => (chosen === "" ? (own[index].dataset.score === "" ? Infinity : Number(own[index].dataset.score)) : iou[index][chosen]);
      const fits = (index) => (chosen === "" || iou[index][chosen] !== null) && own[index].dataset.name.toLowerCase().includes(words);
      const order = own.map((_, index) => index).filter(fits);
      const byName = (a, b) => own[a].dataset.name.localeCompare(own[b].dataset.name, undefined, { numeric: true });
      order.sort(sort.value === "name" ? byName : (a, b) => (sort.value === "best" ? -1 : 1) * (score(a) - score(b)) || byName(a, b));
      own.forEach((card) => { card.hidden = true; });
      order.forEach((index, place) => {
        const card = own[index];
        card.hidden = place >= most;
        cards.insertBefore(card, cards.children[place]);
        if (iou[index].length) {
          const value = score(index);
          card.querySelector("figcaption b").textContent = Number.isFinite(value) ? (100 * value).toFixed(1) : "–";
        }
      });
      empty.hidden = order.length > 0;
      more.hidden = order.length <= most;
      more.textContent = `show all ${order.length}`;
      count.textContent = chosen === "" && words === "" ? first : `${order.length} of ${own.length} shown`;
    }
    [sort, filter].forEach((control) => control && control.addEventListener("change", arrange));
    search.addEventListener("input", arrange);
    more.addEventListener("click", () => { most = Infinity; arrange(); });
    arrange();

    all("[data-all]", gallery).forEach((button) =>
      button.addEventListener("click", () => own.forEach((card) => show(card, Number(button.dataset.all)))));
    const errors = gallery.querySelector(".errors-shown"), strength = gallery.querySelector(".strength");
    if (errors) errors.addEventListener("change", () => cards.classList.toggle("with-errors", errors.checked));
    if (strength) strength.addEventListener("input", () => cards.style.setProperty("--strength", strength.value));
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, [type=search]")) return;
    const near = event.target.closest(".gallery") || all(".gallery").find((gallery) => gallery.getBoundingClientRect().bottom > 80);
    if (!near) return;
    if ("123".includes(event.key)) all(".card", near).forEach((card) => show(card, Number(event.key) - 1));
    if (event.key === "e") { const box = near.querySelector(".errors-shown"); if (box) box.click(); }
    if (event.key === "j" || event.key === "k") {
      const stops = all(".card:not([hidden])", near).map((card) => card.querySelector(".slider") || card);
      const here = stops.indexOf(document.activeElement);
      const next = stops[here < 0 ? 0 : Math.min(stops.length - 1, Math.max(0, here + (event.key === "j" ? 1 : -1)))];
      if (next) { next.focus(); next.scrollIntoView({ block: "center" }); }
    }
  });

  for (const chart of all(".chart[data-series]")) {
    const series = JSON.parse(chart.dataset.series), svg = chart.querySelector("svg");
    const cursor = chart.querySelector(".cursor"), readout = chart.querySelector(".readout");
    const stops = [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    let at = stops.length - 1;
    function tell() {
      cursor.setAttribute("x1", stops[at]);
      cursor.setAttribute("x2", stops[at]);
      readout.replaceChildren();
      for (const one of series) {
        const point = one.points.reduce((best, each) => (Math.abs(each[0] - stops[at]) < Math.abs(best[0] - stops[at]) ? each : best));
        const swatch = document.createElement("span"), value = document.createElement("b");
        swatch.className = `swatch series${one.colour}`;
        value.textContent = point[3];
        readout.append(swatch, value, ` at ${point[2]}   `);
      }
    }
    const follow = (event) => {
      const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      at = stops.reduce((best, stop, index) => (Math.abs(stop - x) < Math.abs(stops[best] - x) ? index : best), 0);
      tell();
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("pointerdown", follow);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      at = Math.min(stops.length - 1, Math.max(0, at + step));
      tell();
      event.preventDefault();
    });
  }
})();
