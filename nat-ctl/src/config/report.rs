//! Collects everything that is wrong, so that one run of the program shows it all.

use super::document::{Document, Span};
use super::error::{ConfigError, Diagnostic, Place, Severity, Warning};
use crate::output::text::sanitise;

/// How many errors are worth showing. A file with more of them is not a configuration.
const ERRORS_MAX: usize = 100;

/// Warnings are cut too: they are kept as long as the configuration is.
const WARNINGS_MAX: usize = 100;

pub(super) struct Report<'d> {
    /// None for a configuration that was not read from a file.
    document: Option<&'d Document<'d>>,
    /// With the offset in the file, for the order.
    errors: Vec<(usize, Diagnostic)>,
    omitted: usize,
    warnings: Vec<(usize, Warning)>,
}

impl<'d> Report<'d> {
    pub fn new(document: Option<&'d Document<'d>>) -> Self {
        Self { document, errors: Vec::new(), omitted: 0, warnings: Vec::new() }
    }

    /// An error at a value.
    pub fn error(&mut self, at: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.push_error(at, |report| report.place(at), message, help);
    }

    /// An error at the key of a value: where the value itself is not what is wrong.
    pub fn error_at_key(&mut self, of: &Span, message: impl Into<String>, help: impl Into<String>) {
        let find = |report: &Self| {
            let document = report.document?;
            let at = document.key_at(of).map_or(of.start, |key| key.span.start);
            Some(document.place(at))
        };
        self.push_error(of, find, message, help);
    }

    /// An error that is nowhere in particular, such as a missing table.
    pub fn error_in_file(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push_error(&(0..0), |report| Some(report.document?.whole()), message, help);
    }

    pub fn warn(&mut self, at: &Span, message: impl Into<String>, help: impl Into<String>) {
        if self.warnings.len() < WARNINGS_MAX {
            let place = self.place(at);
            let warning =
                diagnostic(Severity::Warning, place, self.key(at), message.into(), help.into());
            self.warnings.push((at.start, warning));
        }
    }

    pub fn warn_in_file(&mut self, message: impl Into<String>, help: impl Into<String>) {
        let place = self.document.map(Document::whole);
        let warning = diagnostic(Severity::Warning, place, None, message.into(), help.into());
        self.warnings.push((0, warning));
    }

    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether further errors would not be shown anyway.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= ERRORS_MAX
    }

    pub fn into_warnings(mut self) -> Vec<Warning> {
        self.warnings.sort_by_key(|(offset, _)| *offset);
        self.warnings.into_iter().map(|(_, warning)| warning).collect()
    }

    pub fn into_error(mut self) -> ConfigError {
        self.errors.sort_by_key(|(offset, _)| *offset);
        let diagnostics = self.errors.into_iter().map(|(_, diagnostic)| diagnostic).collect();
        ConfigError::new(diagnostics, self.omitted)
    }

    fn push_error(
        &mut self,
        at: &Span,
        place: impl FnOnce(&Self) -> Option<Place>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.is_full() {
            self.omitted += 1;
            return;
        }
        let place = place(self);
        let error = diagnostic(Severity::Error, place, self.key(at), message.into(), help.into());
        self.errors.push((at.start, error));
    }

    /// The key at a place; none for the file as a whole.
    fn key(&self, at: &Span) -> Option<String> {
        let document = self.document.filter(|_| !at.is_empty())?;
        document.name_at(at).map(|name| sanitise(&name).into_owned())
    }

    fn place(&self, at: &Span) -> Option<Place> {
        Some(self.document?.place(at.start))
    }
}

fn diagnostic(
    severity: Severity,
    place: Option<Place>,
    key: Option<String>,
    message: String,
    help: String,
) -> Diagnostic {
    let help = if help.is_empty() { None } else { Some(help) };
    Diagnostic { severity, message, place, key, help }
}
