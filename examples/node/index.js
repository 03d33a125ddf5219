const { program } = require("commander");
const colors = require("picocolors");

program.argument("[words...]").option("--plain", "no colours", false);
program.parse();
const paint = program.opts().plain || !process.stdout.isTTY ? (s) => s : colors.green;
console.log(paint(`${program.args.length} words: ${program.args.join(" ")}`));
