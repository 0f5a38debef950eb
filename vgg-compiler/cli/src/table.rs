//! Tables of aligned columns for the terminal.

use crate::console::HEADING;

/// On which side the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// The space between two columns.
const GAP: &str = "  ";

impl Table {
    /// A table of these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing are empty.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, each with its line feed. Columns without any text are left out.
    pub(crate) fn render(&self) -> String {
        let width = |index: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            cells.max().filter(|&widest| widest > 0)
        };
        let shown: Vec<(usize, usize)> = self
            .columns
            .iter()
            .enumerate()
            .filter_map(|(index, (name, _))| width(index).map(|widest| (index, widest.max(name.chars().count()))))
            .collect();
        let line = |cells: &dyn Fn(usize) -> String| {
            let padded = shown.iter().map(|&(index, width)| match self.columns[index].1 {
                Align::Left => format!("{:width$}", cells(index)),
                Align::Right => format!("{:>width$}", cells(index)),
            });
            padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        };
        let heading = line(&|index| self.columns[index].0.to_owned());
        let mut text = format!("{HEADING}{heading}{HEADING:#}\n");
        for row in &self.rows {
            text += &line(&|index| row.get(index).cloned().unwrap_or_default());
            text.push('\n');
        }
        text
    }
}

/// A number of bytes as people write it: decimal units, three figures.
pub(crate) fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        ..1e3 => format!("{count} B"),
        ..1e6 => format!("{:.1} kB", count / 1e3),
        ..1e9 => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.2} GB", count / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(&[("a", Align::Left), ("empty", Align::Left), ("number", Align::Right)]);
        table.row(vec!["long".into(), String::new(), "7".into()]);
        table.row(vec!["x".into()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "a     number\nlong       7\nx\n");
    }

    #[test]
    fn sizes_have_decimal_units() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (553_430_176, "553.4 MB"), (1 << 30, "1.07 GB")]
        {
            assert_eq!(bytes(count), text);
        }
    }
}
