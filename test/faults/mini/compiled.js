// Loaded into the runtime before the installer: takes its compiled code from a file. Half of the time of an
// installation in miniature is the reading of a program of 2 MB, a few times a case. With /opt/faults/compiles
// it writes that file, at the end of a run.
const fs = require('fs');
const Module = require('module');
const path = require('path');
const vm = require('vm');

const COMPILED = '/opt/faults/compiled';
const compile = Module.prototype._compile;

Module.prototype._compile = function (content, filename) {
  if (path.basename(filename) !== 'installer.cjs') return compile.call(this, content, filename);
  const cachedData = fs.existsSync(COMPILED) ? fs.readFileSync(COMPILED) : undefined;
  const script = new vm.Script(Module.wrap(content.replace(/^#!.*/, '')), { filename, cachedData });
  if (fs.existsSync('/opt/faults/compiles'))
    process.on('exit', () => fs.writeFileSync(COMPILED, script.createCachedData()));
  const run = script.runInThisContext();
  return run.call(
    this.exports,
    this.exports,
    Module.createRequire(filename),
    this,
    filename,
    path.dirname(filename),
  );
};
