//! The one Jinja environment of the workspace: a template and variables in, text out, within bounds of time and memory.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use super::{filters, limits, python, rewrite};
use crate::{Error, Result};

/// What one rendering may spend: instructions, and bytes at 64 for one. The longest real chats use a hundredth.
const FUEL: u64 = 2_000_000;
/// Levels of calls; a macro in a macro counts as ten or so.
const RECURSION: usize = 300;
/// The stack to compile on.
const STACK: usize = 64 << 20;
/// The longest template in bytes; real ones have up to 30,000.
const LONGEST: usize = 128 << 10;

/// A Jinja template as Transformers runs it: `trim_blocks`, `lstrip_blocks`, `break` and `continue`, Python's methods,
/// `raise_exception`, `strftime_now`, `tojson` without HTML, and `generation` blocks.
///
/// A template that runs for too long, takes too much memory or nests too deep ends with [`Error::Template`]. It cannot
/// include or import another one.
///
/// ```
/// use idiolect_tokenizer::chat::Jinja;
///
/// # fn main() -> idiolect_tokenizer::Result<()> {
/// let variables = serde_json::json!({"name": "sea"});
/// assert_eq!(Jinja::new("{{ name.upper() }}", "an example")?.render(&variables)?, "SEA");
/// assert!(Jinja::new("{% for i in range(10 ** 9) %}.{% endfor %}", "a bomb")?.render(&variables).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Jinja {
    environment: Arc<Environment<'static>>,
    source: Arc<str>,
    has_generation: bool,
}

impl Jinja {
    /// Compiles `source`; `origin` is what errors call it, such as its file.
    pub fn new(source: &str, origin: &str) -> Result<Self> {
        if source.len() > LONGEST {
            let what = format!("it has {} bytes, at most {LONGEST} are taken", source.len());
            return Err(Error::Template { origin: origin.to_owned(), line: 1, what });
        }
        // The parser calls itself for each operator of an expression.
        let compiling = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let compiling = thread.spawn_scoped(scope, || compile(source, origin));
            compiling.map(|compiling| compiling.join())
        });
        match compiling {
            Ok(Ok(compiled)) => compiled.map_err(|error| failure(&error, origin)),
            Ok(Err(_)) => Err(Error::Library("the template engine broke off".to_owned())),
            Err(error) => Err(Error::Library(format!("cannot start a thread: {error}"))),
        }
    }

    /// The template as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it says with `{% generation %}` blocks what the assistant writes.
    pub fn has_generation(&self) -> bool {
        self.has_generation
    }

    /// Renders the template with the entries of `variables`, a map.
    pub fn render(&self, variables: &impl Serialize) -> Result<String> {
        let variables = Value::from(Serde(variables));
        let Some((origin, template)) = self.environment.templates().next() else {
            return Ok(String::new());
        };
        limits::inspect_input(&variables)
            .and_then(|()| template.render(variables))
            .map_err(|error| failure(&error, origin))
    }
}

fn compile(source: &str, origin: &str) -> std::result::Result<Jinja, minijinja::Error> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    let rewritten = rewrite::rewrite(source, &syntax)?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    environment.set_unknown_method_callback(python::call);
    filters::add(&mut environment);
    environment.add_template_owned(origin.to_owned(), rewritten.source)?;
    Ok(Jinja {
        environment: Arc::new(environment),
        source: source.into(),
        has_generation: rewritten.has_generation,
    })
}

/// The engine's error as ours: the innermost cause, the line, and no internals.
fn failure(error: &minijinja::Error, origin: &str) -> Error {
    let mut what = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it runs for too long or makes too much text".to_owned(),
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    if what.len() > 500 {
        let end = (0..=500).rev().find(|&at| what.is_char_boundary(at)).unwrap_or(0);
        what.truncate(end);
    }
    Error::Template { origin: origin.to_owned(), line: error.line().unwrap_or(1), what }
}
