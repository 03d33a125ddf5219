//! The files of a policy, and those that they import.

use errdefs::{Error, Position, Result, ResultExt as _};
use regorus::unstable as ast;

use crate::budget;
use crate::fault;
use crate::host::Host;
use crate::trace::{self, Edit};

/// A file in Rego.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// As messages name it.
    pub name: String,
    pub data: Vec<u8>,
}

/// Most bytes of an imported file.
const MOST: usize = 1 << 20;

/// A file as it was written and as the evaluator sees it.
pub(crate) struct Module {
    pub name: String,
    pub original: String,
    /// With the reads of fields told.
    pub traced: String,
    pub syntax: ast::Module,
    edits: Vec<Edit>,
}

impl Module {
    /// Reads a file. `package` replaces the name of its package.
    pub fn parse(name: &str, data: &[u8], package: Option<&str>) -> Result<Self> {
        let text = String::from_utf8(data.to_vec())
            .map_err(|_| Error::user(format!("{name}: the file is not text")))?;
        let mut module = Module {
            name: name.to_owned(),
            traced: text.clone(),
            original: text,
            syntax: empty()?,
            edits: Vec::new(),
        };
        budget::check_nesting(&module.original).with_context(|| name.to_owned())?;
        module.syntax =
            parse(name, &module.original).map_err(|e| fault::of(&e, std::slice::from_ref(&module)))?;
        let mut edits = trace::edits(&module.syntax);
        if let Some(package) = package {
            let span = module.syntax.package.refr.span();
            let (start, end) = (span.start as usize, span.end as usize);
            edits.insert(0, Edit { start, end, text: package.to_owned() });
        }
        module.traced = trace::apply(&module.original, &edits);
        module.edits = edits;
        Ok(module)
    }

    /// As a query names it: `data.docker`.
    pub fn package(&self) -> String {
        format!("data.{}", self.syntax.package.refr.span().text())
    }

    /// Where a column of the traced text stands in the original; both count from 1, in characters.
    pub fn original_column(&self, line: u32, column: u32) -> u32 {
        let begin = line_start(&self.original, line);
        let mut shift = 0_i64;
        for edit in self.edits.iter().filter(|edit| edit.start >= begin) {
            let start = self.original[begin..edit.start].chars().count() as i64;
            if self.original[begin..edit.start].contains('\n') || i64::from(column) <= start + shift + 1 {
                break;
            }
            let (was, is) = (self.original[edit.start..edit.end].chars().count(), edit.text.chars().count());
            if i64::from(column) <= start + shift + is as i64 {
                return u32::try_from(start + 1).unwrap_or(column);
            }
            shift += is as i64 - was as i64;
        }
        u32::try_from(i64::from(column) - shift).unwrap_or(column)
    }

    /// Imports of other packages: where they stand, and the package without `data.`.
    fn imports(&self) -> impl Iterator<Item = (Position, &str)> {
        self.syntax.imports.iter().filter_map(|import| {
            let span = import.refr.span();
            let package = span.text().strip_prefix("data.")?;
            Some((Position { line: span.line, character: span.col.saturating_sub(1) }, package))
        })
    }
}

fn line_start(text: &str, line: u32) -> usize {
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    ends.take(line.saturating_sub(1) as usize).last().unwrap_or(0)
}

fn parse(name: &str, text: &str) -> anyhow::Result<ast::Module> {
    let source = ast::Source::from_contents(name.to_owned(), text.to_owned())?;
    let mut parser = ast::Parser::new(&source)?;
    parser.enable_rego_v1()?;
    parser.parse()
}

fn empty() -> Result<ast::Module> {
    parse("", "package none").map_err(|e| Error::internal(e.to_string()))
}

/// Reads files and all that is imported. With `known`, packages that are among the files are not looked
/// for (`policy/tester.go` of buildx; builds look for the file all the same).
pub(crate) fn load(files: &[File], known: bool, host: &dyn Host) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for file in files {
        modules.push(Module::parse(&file.name, &file.data, None)?);
    }
    let mut next = 0;
    while next < modules.len() {
        let mut found = Vec::new();
        for (place, package) in modules[next].imports() {
            let path = format!("{}.rego", package.replace('.', "/"));
            let is_there = |module: &Module| {
                module.name == path || known && module.package() == format!("data.{package}")
            };
            if modules.iter().chain(&found).any(is_there) {
                continue;
            }
            let missing = || {
                let text = format!("import data.{package} not found: there is no `{path}`");
                fault::at(&modules[next], place, &text)
            };
            let read = host.read(&path, MOST).with_context(|| format!("failed to read `{path}`"))?;
            found.push(Module::parse(&path, &read.ok_or_else(missing)?, Some(package))?);
        }
        modules.extend(found);
        next += 1;
    }
    Ok(modules)
}
