// Tables of cases for the modules of the page that compute and do not draw. The body of a function that gives a promise of the
// differences as texts. The modules come from the service, as they do for the page.

const load = (name) => import(`${location.origin}/dashboard/${name}.js`);
return Promise.all(["format", "chart", "stream", "sqlstate"].map(load)).then(([format, chart, stream, sqlstate]) => {
  const differences = [];
  const check = (name, found, expected) => {
    const [is, wanted] = [found, expected].map((value) => JSON.stringify(value).replaceAll("\u00a0", " "));
    if (is !== wanted) differences.push(`${name}: ${is}, and not ${wanted}`);
  };

  for (const [value, text] of [[0, "0"], [0.414, "0.41"], [9.994, "9.99"], [9.996, "10.0"], [12.34, "12.3"], [99.96, "100"], [1234.5, "1,235"], [null, "–"], [undefined, "–"], [NaN, "–"]]) {
    check(`digits ${value}`, format.digits(value), text);
  }
  for (const [value, text] of [[0.41, "0.41 ms"], [999.4, "999 ms"], [999.6, "1.00 s"], [65_000, "65.0 s"], [120_000, "2.00 min"], [null, "–"]]) {
    check(`ms ${value}`, format.joined(format.ms(value)), text);
  }
  for (const [value, text] of [[0, "0 B"], [999, "999 B"], [18_432, "18.4 kB"], [91_000_000, "91.0 MB"], [null, "–"]]) {
    check(`bytes ${value}`, format.joined(format.bytes(value)), text);
  }
  for (const [value, text] of [[0, "0 s"], [59, "59 s"], [60, "1 min"], [123, "2 min 3 s"], [90_061, "1 d 1 h"], [86_405, "1 d"], [null, "–"]]) {
    check(`span ${value}`, format.span(value), text);
  }
  check("counted 1", format.counted(1, "error"), "1 error");
  check("counted 1200", format.counted(1200, "error"), "1,200 errors");

  for (const [most, isWhole, ticks] of [[0, false, [0, 1]], [1240, false, [0, 500, 1000, 1500]], [0.3, false, [0, 0.1, 0.2, 0.3]], [1, false, [0, 0.5, 1]], [1, true, [0, 1]], [3, true, [0, 1, 2, 3]], [25, true, [0, 10, 20, 30]]]) {
    check(`scale ${most}`, chart.scale(most, isWhole), ticks);
  }

  // The same events, whatever the pieces that they come in.
  const text = ": a comment\n\nevent: live\ndata: {\"a\":1}\n\nevent: live\r\ndata: one\r\ndata:two\r\n\r\nid: 7\n\ndata: cut";
  for (const size of [1, 2, 7, 1000]) {
    const events = [];
    const parse = stream.parser((data) => events.push(data));
    for (let at = 0; at < text.length; at += size) parse(text.slice(at, at + size));
    check(`events in pieces of ${size}`, events, ['{"a":1}', "one\ntwo"]);
  }

  for (const [code, words] of [["23505", "unique violation"], ["57P99", "intervention of an operator"], ["timeout", ""], ["99999", ""]]) {
    check(`meaning ${code}`, sqlstate.meaning(code), words);
  }
  return differences;
});
