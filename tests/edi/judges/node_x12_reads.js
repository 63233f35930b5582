// Reads X12 files with npm's node-x12: a file a line in (path, tab, encoding), what it saw of each as a line of JSON out.

'use strict';

const fs = require('fs');
const { X12Parser } = require('node-x12');

function read(path, encoding) {
  const text = fs.readFileSync(path, encoding);
  const segments = [], complaints = [];
  try {
    // Its segments come from the stream, its complaints from the whole.
    const stream = new X12Parser();
    stream.write(text);
    let segment;
    while ((segment = stream.read())) segments.push([segment.tag, segment.elements.map((element) => element.value)]);
    const whole = new X12Parser();
    whole.parse(text);
    complaints.push(...whole.diagnostics.map((told) => told.message));
  } catch (error) {
    complaints.push(String(error));
  }
  return { segments, complaints };
}

for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  console.log(JSON.stringify(read(...line.split('\t'))));
}
