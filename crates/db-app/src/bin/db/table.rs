//! Text in columns for people. What is in them is the command's.

/// Rows of cells, the first so many of which begin at the left; the others are figures and end at the right.
#[derive(Debug)]
pub(crate) struct Table {
    left: usize,
    /// Whether the last of them is a text again.
    ends_in_text: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(left: usize, heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { left, ends_in_text: false, rows: vec![heads] }
    }

    /// The last column begins at the left as well.
    pub(crate) fn ends_in_text(mut self) -> Self {
        self.ends_in_text = true;
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let line = |row: &Vec<String>| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = width_of(column);
                let is_text = column < self.left || self.ends_in_text && column + 1 == row.len();
                if is_text { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// A figure, or that there is none.
pub(crate) fn or_dash(figure: Option<impl ToString>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_begin_at_the_left_and_figures_end_at_the_right() {
        let mut table = Table::new(1, &["pool", "open", "note"]);
        table.row(["primary", "2", ""].map(str::to_owned));
        table.row(["réplica", "10", "slow"].map(str::to_owned));
        assert_eq!(table.lines(), ["pool     open  note", "primary     2", "réplica    10  slow"]);
        let mut table = Table::new(1, &["pool", "open", "in words"]).ends_in_text();
        table.row(["a", "10", "slow"].map(str::to_owned));
        assert_eq!(table.lines(), ["pool  open  in words", "a       10  slow"]);
    }
}
