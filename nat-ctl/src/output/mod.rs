//! What commands print: one renderer per form, chosen in one place.

pub mod json;
pub mod style;
pub mod table;
pub mod text;
pub mod units;

use std::io::{self, BufWriter, Write};

use serde::Serialize;

pub use style::{ColorChoice, Style, Tone};
pub use table::Table;
pub use text::{excerpt, sanitise};

use crate::exit::Failure;

/// Where the answer of a command goes: standard output, as text or JSON. Logs and errors go to
/// standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out {
    /// JSON instead of text.
    pub json: bool,
    /// Whether text may be coloured.
    pub color: bool,
}

impl Out {
    pub fn new(json: bool, color: ColorChoice) -> Self {
        Self { json, color: color.resolve(&io::stdout()) }
    }

    pub fn style(self) -> Style {
        Style::new(self.color)
    }

    /// Prints the answer: `value` as JSON, or the text that `render` makes of it. The text may
    /// lack its last newline.
    pub fn answer<T: Serialize>(
        self,
        value: &T,
        render: impl FnOnce(&T, Style) -> String,
    ) -> Result<(), Failure> {
        if self.json { self.print_json(value) } else { self.print(&render(value, self.style())) }
    }

    /// Prints a value as JSON, whatever was asked for.
    pub fn print_json(self, value: &impl Serialize) -> Result<(), Failure> {
        to_stdout(|stdout| json::write(value, stdout))
    }

    /// Prints text, ended by one newline at least. Foreign parts of it must have been through
    /// [`sanitise`]; those of a [`Table`] have.
    pub fn print(self, text: &str) -> Result<(), Failure> {
        to_stdout(|stdout| {
            stdout.write_all(text.as_bytes())?;
            if text.is_empty() || text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") }
        })
    }
}

/// Runs `write` on buffered standard output. A reader that went away (`| head`) has what it
/// wanted: no error.
fn to_stdout(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    let result = write(&mut stdout).and_then(|()| stdout.flush());
    // After an error the rest stays in the buffer, and dropping it must not try again.
    let (_, _) = stdout.into_parts();
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
