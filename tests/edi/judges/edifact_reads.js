// Reads EDIFACT files with npm's edifact: a file a line in (path, tab, encoding), what it saw of each as a line of JSON out.
// Message types it has a table of are tracked by that as well; its tables are those of D.01B.

'use strict';

const fs = require('fs');
const { Parser, Tracker } = require('edifact');

const TABLES = ['APERAK', 'DESADV', 'INVOIC', 'INVRPT', 'ORDERS', 'PARTIN'];

function table(name) {
  return require(`edifact/messages/${name}.json`);
}

function segmentsOf(text, level) {
  const segments = [];
  const parser = new Parser();
  let elements, components, tracker;
  if (level) parser.encoding(level);
  parser.onopensegment = (tag) => segments.push([tag, (elements = [])]);
  parser.onelement = () => elements.push((components = []));
  parser.oncomponent = (value) => {
    components.push(value);
    const [tag] = segments.at(-1);
    if (!level && tag === 'UNB' && elements.length === 1 && components.length === 1) parser.encoding(value);
  };
  parser.onclosesegment = () => {
    const [tag, values] = segments.at(-1);
    if (tag === 'UNH') {
      const [name, version, release] = values[1] || [];
      const known = TABLES.includes(name) && version === 'D' && release === '01B';
      tracker = known && !level ? new Tracker(table(name)) : undefined;
    }
    if (tracker) {
      tracker.accept(tag);
      if (tag === 'UNT') tracker = undefined;
    }
  };
  parser.write(text);
  parser.end();
  return segments;
}

function read(path, encoding) {
  const text = fs.readFileSync(path, encoding);
  const complaints = [];
  // As it is declared, then with every character allowed: so that one complaint does not hide the rest.
  for (const level of [undefined, 'UNOY']) {
    try {
      return { segments: segmentsOf(text, level), complaints };
    } catch (error) {
      complaints.push(String(error));
    }
  }
  return { segments: [], complaints };
}

for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  console.log(JSON.stringify(read(...line.split('\t'))));
}
