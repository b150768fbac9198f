//! Text in columns for people. What is in them is the command's.

/// Rows of cells, the first so many of which begin at the left; the others are figures and end at the right.
#[derive(Debug)]
pub(crate) struct Table {
    left: usize,
    /// So many at the end are texts again.
    right: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(left: usize, heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { left, right: 0, rows: vec![heads] }
    }

    /// The last so many columns begin at the left as well.
    pub(crate) fn ends_in_texts(mut self, count: usize) -> Self {
        self.right = count;
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // What could move the cursor, or end the line, is a space.
        self.rows.push(cells.into_iter().map(|cell| cell.replace(char::is_control, " ")).collect());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let line = |row: &Vec<String>| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = width_of(column);
                let is_text = column < self.left || column + self.right >= row.len();
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
        let mut table = Table::new(1, &["pool", "open", "in words"]).ends_in_texts(1);
        table.row(["a", "10", "slow"].map(str::to_owned));
        assert_eq!(table.lines(), ["pool  open  in words", "a       10  slow"]);
    }
}
