//! Tables as `ip` and `ss` print them: no borders, two spaces between columns, so that `awk` and
//! eyes both find their way.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, TableStyle, Width};

use super::style::{Style, Tone};
use super::text::sanitise;

/// Space between columns.
const GAP: u16 = 2;

/// Rows laid out at a time: comfy-table takes more than 2 KB for a row, and a session table can
/// have millions.
const CHUNK_ROWS: usize = 1024;

/// Between the cells of a stored row. No cell can contain it: it is a control character.
const CELL_END: char = '\u{1f}';

/// A table under construction. Cells are made safe to print; rows are never wrapped, since a
/// wrapped row is neither readable nor parseable.
pub struct Table {
    headings: Vec<String>,
    right: Vec<usize>,
    rows: Vec<Row>,
}

struct Row {
    tone: Option<Tone>,
    /// Each followed by [`CELL_END`].
    cells: Box<str>,
}

impl Table {
    /// A table with these headings, in capitals by convention. Columns are left-aligned.
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
        Self { headings, right: Vec::new(), rows: Vec::new() }
    }

    /// Aligns columns of numbers to the right.
    #[must_use]
    pub fn right(mut self, columns: &[usize]) -> Self {
        self.right.extend_from_slice(columns);
        self
    }

    /// Adds a row; what lies beyond the last heading is left out.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.push(None, cells);
    }

    /// Adds a row in a colour.
    pub fn row_in<C: AsRef<str>>(&mut self, tone: Tone, cells: impl IntoIterator<Item = C>) {
        self.push(Some(tone), cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line with its newline. A table without rows is only its headings.
    pub fn render(&self, style: Style) -> String {
        let widths = self.widths();
        let mut text = String::new();
        let mut line = |tone: Option<Tone>, line: &str| {
            let line = line.trim_end();
            match tone {
                Some(tone) => text.push_str(&style.paint(tone, line)),
                None => text.push_str(line),
            }
            text.push('\n');
        };
        for heading in self.layout(&[], &widths).lines() {
            line(Some(Tone::Heading), &heading);
        }
        for chunk in self.rows.chunks(CHUNK_ROWS) {
            let lines = self.layout(chunk, &widths);
            for (row, content) in chunk.iter().zip(lines.lines().skip(1)) {
                line(row.tone, &content);
            }
        }
        text
    }

    fn push<C: AsRef<str>>(&mut self, tone: Option<Tone>, cells: impl IntoIterator<Item = C>) {
        let mut stored = String::new();
        for cell in cells.into_iter().take(self.headings.len()) {
            stored.push_str(&sanitise(cell.as_ref()));
            stored.push(CELL_END);
        }
        self.rows.push(Row { tone, cells: stored.into_boxed_str() });
    }

    /// The widest content of each column.
    fn widths(&self) -> Vec<u16> {
        let mut widths = self.layout(&[], &[]).column_max_content_widths();
        for chunk in self.rows.chunks(CHUNK_ROWS) {
            let of_chunk = self.layout(chunk, &[]).column_max_content_widths();
            for (width, in_chunk) in widths.iter_mut().zip(of_chunk) {
                *width = in_chunk.max(*width);
            }
        }
        widths
    }

    /// The headings and some rows, in columns at least as wide as these.
    fn layout(&self, rows: &[Row], widths: &[u16]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new());
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.headings);
        for row in rows {
            table.add_row(row.cells.split_terminator(CELL_END).map(Cell::new));
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            if self.right.contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if let Some(width) = widths.get(index) {
                let width = Width::Fixed(width.saturating_add(GAP));
                column.set_constraint(ColumnConstraint::LowerBoundary(width));
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_borders() {
        let mut table = Table::new(&["PROTO", "INSIDE", "EXPIRES", "STATE"]).right(&[2]);
        table.row(["tcp", "10.0.0.5:41822", "1h59m", "established"]);
        table.row(["udp", "10.0.0.9:5353", "29s", ""]);
        assert_eq!(
            table.render(Style::new(false)),
            "PROTO  INSIDE          EXPIRES  STATE\n\
             tcp    10.0.0.5:41822    1h59m  established\n\
             udp    10.0.0.9:5353       29s\n"
        );
    }

    #[test]
    fn colour_does_not_move_columns() {
        let mut table = Table::new(&["A", "B"]);
        table.row_in(Tone::Bad, ["long cell", "x"]);
        table.row(["y"]);
        assert_eq!(
            table.render(Style::new(true)),
            "\u{1b}[1mA          B\u{1b}[0m\n\u{1b}[31mlong cell  x\u{1b}[0m\ny\n"
        );
    }

    #[test]
    fn cells_cannot_break_the_table() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["two\nlines", "1"]);
        table.row(["\u{1b}[2J", "2"]);
        table.row(["東京", "3", "beyond the last column"]);
        let text = table.render(Style::new(false));
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains(r"two\nlines"));
        assert!(!text.contains('\u{1b}'));
        // Two columns of the terminal for each of these.
        assert!(text.contains("東京        3"), "{text}");
    }

    #[test]
    fn columns_line_up_over_many_rows() {
        let mut table = Table::new(&["A", "B"]);
        for _ in 0..CHUNK_ROWS {
            table.row(["a", "b"]);
        }
        table.row(["a long one", "b"]);
        let text = table.render(Style::new(false));
        assert_eq!(text.lines().count(), CHUNK_ROWS + 2);
        assert!(text.lines().skip(1).all(|line| line.chars().nth(12) == Some('b')));
    }

    #[test]
    fn without_rows_only_headings() {
        let table = Table::new(&["A", "B"]);
        assert!(table.is_empty());
        assert_eq!(table.render(Style::new(false)), "A  B\n");
    }
}
