// Every payload of the page starts the tools of its section; a drill-down of fronts follows the explorer's preference.
for (const element of document.querySelectorAll("script.payload")) {
  const at = (what) => document.getElementById(`${what}-${element.dataset.for}`);
  unpacked(element).then((data) => {
    data.id = element.dataset.for;
    if (data.kind === "single") {
      drill(at("drill"), {...data, measures: [data.measure], values: (s) => data.values[s]});
      return;
    }
    const tool = explorer(at("explorer"), data);
    const view = drill(at("drill"), {systems: data.systems.map((s) => s.name), start: data.start, measures: data.objectives,
      queries: data.queries, scale: data.scale, p: null, values: (s, k) => data.values[s][tool.state.at][k]});
    tool.onchange(view.update);
  });
}
