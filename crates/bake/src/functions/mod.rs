//! The functions of the language.

mod address;
mod collection;
mod crypto;
mod encode;
mod format;
mod json;
pub(crate) mod number;
mod pattern;
mod sets;
mod text;
mod time;
mod version;

use std::cell::RefCell;
use std::fmt;

use crate::convert::convert;
use crate::types::Type;
use crate::value::Value;

pub(crate) use json::decode as decode_json;
pub(crate) use json::encode as encode_json;

/// Fills bytes.
type Random = Box<dyn FnMut(&mut [u8])>;

/// What functions know of the world beside their arguments.
pub struct Context {
    /// Seconds since 1970, for `timestamp`.
    pub now: i64,
    /// For `homedir`.
    pub home: String,
    random: RefCell<Random>,
}

impl Context {
    /// `random` fills the bytes it is given.
    pub fn new(now: i64, home: impl Into<String>, random: impl FnMut(&mut [u8]) + 'static) -> Self {
        Context { now, home: home.into(), random: RefCell::new(Box::new(random)) }
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        (self.random.borrow_mut())(&mut out);
        out
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("now", &self.now).field("home", &self.home).finish_non_exhaustive()
    }
}

/// Why a call failed, and for which argument.
#[derive(Debug)]
pub struct CallError {
    pub message: String,
    pub argument: Option<usize>,
}

impl From<String> for CallError {
    fn from(message: String) -> Self {
        CallError { message, argument: None }
    }
}

impl From<&str> for CallError {
    fn from(message: &str) -> Self {
        CallError { message: message.to_owned(), argument: None }
    }
}

/// A fault of this argument.
fn bad(argument: usize, message: impl Into<String>) -> CallError {
    CallError { message: message.into(), argument: Some(argument) }
}

type Called = Result<Value, CallError>;

/// What a parameter takes. All but [`Want::Nullable`] refuse null.
#[derive(Debug, Clone, Copy)]
enum Want {
    Any,
    Nullable,
    String,
    Number,
    Bool,
    Strings,
    List,
    Set,
}

impl Want {
    fn kind(self) -> Type {
        match self {
            Want::Any | Want::Nullable => Type::Any,
            Want::String => Type::String,
            Want::Number => Type::Number,
            Want::Bool => Type::Bool,
            Want::Strings => Type::list(Type::String),
            Want::List => Type::list(Type::Any),
            Want::Set => Type::set(Type::Any),
        }
    }
}

/// A function: what it takes, and what it does with arguments of the right types.
pub struct Function {
    name: &'static str,
    params: &'static [Want],
    rest: Option<Want>,
    run: fn(&[Value], &Context) -> Called,
}

const fn fixed(
    name: &'static str,
    params: &'static [Want],
    run: fn(&[Value], &Context) -> Called,
) -> Function {
    Function { name, params, rest: None, run }
}

const fn more(
    name: &'static str,
    params: &'static [Want],
    rest: Want,
    run: fn(&[Value], &Context) -> Called,
) -> Function {
    Function { name, params, rest: Some(rest), run }
}

/// Names that the evaluator itself knows, because they look at expressions and not at values.
const SPECIAL: [&str; 3] = ["can", "convert", "try"];

/// Sorted by name.
#[rustfmt::skip]
static FUNCTIONS: [Function; 103] = {
    use Want::{Any, Bool, List, Nullable, Number, Set, String, Strings};
    [
        fixed("absolute", &[Number], number::absolute),
        fixed("add", &[Number, Number], |a, _| number::binary(a, number::add)),
        fixed("and", &[Bool, Bool], |a, _| number::logic(a, |x, y| x && y)),
        fixed("base64decode", &[String], encode::base64_decode),
        fixed("base64encode", &[String], encode::base64_encode),
        fixed("basename", &[String], text::base_name),
        more("bcrypt", &[String], Number, crypto::bcrypt),
        fixed("byteslen", &[Any], text::no_bytes),
        fixed("bytesslice", &[Any, Number, Number], text::no_bytes),
        fixed("ceil", &[Number], number::ceil),
        fixed("chomp", &[String], text::chomp),
        fixed("chunklist", &[List, Number], collection::chunk_list),
        fixed("cidrhost", &[String, Number], address::host),
        fixed("cidrnetmask", &[String], address::netmask),
        fixed("cidrsubnet", &[String, Number, Number], address::subnet),
        more("cidrsubnets", &[String], Number, address::subnets),
        more("coalesce", &[], Nullable, collection::coalesce),
        more("coalescelist", &[], Nullable, collection::coalesce_list),
        fixed("compact", &[Strings], collection::compact),
        more("concat", &[], Any, collection::concat),
        fixed("contains", &[Any, Any], collection::contains),
        fixed("csvdecode", &[String], encode::csv_decode),
        fixed("dirname", &[String], text::dir_name),
        fixed("distinct", &[List], collection::distinct),
        fixed("divide", &[Number, Number], |a, _| number::binary(a, number::divide)),
        fixed("element", &[Any, Number], collection::element),
        fixed("equal", &[Nullable, Nullable], |a, _| Ok(Value::Bool(a[0] == a[1]))),
        fixed("flatten", &[Any], collection::flatten),
        fixed("floor", &[Number], number::floor),
        more("format", &[String], Nullable, format::format),
        fixed("formatdate", &[String, String], time::format_date),
        more("formatlist", &[String], Nullable, format::format_list),
        fixed("formattimestamp", &[String, Any], time::format_timestamp),
        fixed("greaterthan", &[Number, Number], |a, _| number::compare(a, |o| o.is_gt())),
        fixed("greaterthanorequalto", &[Number, Number], |a, _| number::compare(a, |o| o.is_ge())),
        fixed("hasindex", &[Any, Any], collection::has_index),
        fixed("homedir", &[], |_, context| Ok(Value::string(&context.home))),
        fixed("indent", &[Number, String], text::indent),
        fixed("index", &[Any, Any], collection::index),
        fixed("indexof", &[Any, Any], collection::index_of),
        fixed("int", &[Number], number::int),
        more("join", &[String], Strings, text::join),
        fixed("jsondecode", &[String], encode::json_decode),
        fixed("jsonencode", &[Nullable], encode::json_encode),
        fixed("keys", &[Any], collection::keys),
        fixed("length", &[Any], collection::length),
        fixed("lessthan", &[Number, Number], |a, _| number::compare(a, |o| o.is_lt())),
        fixed("lessthanorequalto", &[Number, Number], |a, _| number::compare(a, |o| o.is_le())),
        fixed("log", &[Number, Number], number::log),
        fixed("lookup", &[Any, String, Any], collection::lookup),
        fixed("lower", &[String], text::lower),
        more("max", &[], Number, number::max),
        fixed("md5", &[String], crypto::md5),
        more("merge", &[], Nullable, collection::merge),
        more("min", &[], Number, number::min),
        fixed("modulo", &[Number, Number], |a, _| number::binary(a, number::modulo)),
        fixed("multiply", &[Number, Number], |a, _| number::binary(a, number::multiply)),
        fixed("negate", &[Number], number::negate),
        fixed("not", &[Bool], |a, _| Ok(Value::Bool(a[0] != Value::Bool(true)))),
        fixed("notequal", &[Nullable, Nullable], |a, _| Ok(Value::Bool(a[0] != a[1]))),
        fixed("or", &[Bool, Bool], |a, _| number::logic(a, |x, y| x || y)),
        fixed("parseint", &[Any, Number], number::parse_int),
        fixed("pow", &[Number, Number], number::pow),
        more("range", &[], Number, collection::range),
        fixed("regex", &[String, String], pattern::regex),
        fixed("regex_replace", &[String, String, String], pattern::replace),
        fixed("regexall", &[String, String], pattern::regex_all),
        fixed("replace", &[String, String, String], text::replace),
        fixed("reverse", &[String], text::reverse),
        fixed("reverselist", &[Any], collection::reverse_list),
        fixed("rsadecrypt", &[String, String], crypto::rsa_decrypt),
        fixed("sanitize", &[String], text::sanitize),
        fixed("semvercmp", &[String, String], version::semver_compare),
        fixed("sethaselement", &[Set, Any], sets::has_element),
        more("setintersection", &[Set], Set, sets::intersection),
        more("setproduct", &[], Any, sets::product),
        fixed("setsubtract", &[Set, Set], sets::subtract),
        more("setsymmetricdifference", &[Set], Set, sets::symmetric_difference),
        more("setunion", &[Set], Set, sets::union),
        fixed("sha1", &[String], crypto::sha1),
        fixed("sha256", &[String], crypto::sha256),
        fixed("sha512", &[String], crypto::sha512),
        fixed("signum", &[Number], number::signum),
        fixed("slice", &[Any, Number, Number], collection::slice),
        fixed("sort", &[Strings], collection::sort),
        fixed("split", &[String, String], text::split),
        fixed("strlen", &[String], text::length),
        fixed("substr", &[String, Number, Number], text::substring),
        fixed("subtract", &[Number, Number], |a, _| number::binary(a, number::subtract)),
        fixed("timeadd", &[String, String], time::add),
        fixed("timestamp", &[], time::timestamp),
        fixed("title", &[String], text::title),
        fixed("trim", &[String, String], text::trim),
        fixed("trimprefix", &[String, String], text::trim_prefix),
        fixed("trimspace", &[String], text::trim_space),
        fixed("trimsuffix", &[String, String], text::trim_suffix),
        fixed("unixtimestampparse", &[Number], time::parse_unix),
        fixed("upper", &[String], text::upper),
        fixed("urlencode", &[String], encode::url_encode),
        fixed("uuidv4", &[], crypto::uuid_v4),
        fixed("uuidv5", &[String, String], crypto::uuid_v5),
        fixed("values", &[Any], collection::values),
        fixed("zipmap", &[Strings, Any], collection::zip_map),
    ]
};

/// All names, without those that files define.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|f| f.name).chain(SPECIAL)
}

pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

/// Calls it with arguments of any types.
pub fn call(function: &Function, args: &[Value], context: &Context) -> Called {
    let count = function.params.len();
    if args.len() < count || (args.len() > count && function.rest.is_none()) {
        let at_least = if function.rest.is_some() { "at least " } else { "" };
        return Err(format!("it takes {at_least}{count} arguments, but was given {}", args.len()).into());
    }
    let wants = function.params.iter().copied().chain(std::iter::repeat(function.rest.unwrap_or(Want::Any)));
    let mut converted = Vec::with_capacity(args.len());
    for (i, (arg, want)) in args.iter().zip(wants).enumerate() {
        let value = convert(arg, &want.kind()).map_err(|why| bad(i, format!("argument {}: {why}", i + 1)))?;
        if value.is_null() && !matches!(want, Want::Nullable) {
            return Err(bad(i, format!("argument {} must not be null", i + 1)));
        }
        converted.push(value);
    }
    (function.run)(&converted, context)
}

/// The text of an argument that was converted to one.
fn text_of(args: &[Value], i: usize) -> &str {
    args.get(i).and_then(Value::as_str).unwrap_or_default()
}

/// The number of an argument that was converted to one.
fn number_of(args: &[Value], i: usize) -> crate::number::Number {
    match args.get(i) {
        Some(Value::Number(n)) => (**n).clone(),
        _ => crate::number::Number::zero(),
    }
}

/// A whole number that fits a machine integer.
fn integer(args: &[Value], i: usize) -> Result<i64, CallError> {
    number_of(args, i)
        .to_i64()
        .ok_or_else(|| bad(i, format!("argument {}: a whole number is required", i + 1)))
}

fn elements(args: &[Value], i: usize) -> &[Value] {
    args.get(i).and_then(Value::sequence).unwrap_or_default()
}

#[cfg(test)]
mod tests;
