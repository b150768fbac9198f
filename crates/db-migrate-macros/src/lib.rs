//! The list of SQL files in a directory, at compile time. Use it through `db_migrate::embed!`. What the files are is decided
//! there, when the program starts: this crate only finds them.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proc_macro::{Literal, TokenStream, TokenTree};

/// `embedded_files!("migrations")` becomes a `&[(&str, &str)]` of paths below that directory and texts. The directory is
/// relative to the manifest of the crate that is compiled.
#[proc_macro]
pub fn embedded_files(input: TokenStream) -> TokenStream {
    let files = directory(input).and_then(|directory| {
        list(&directory).map_err(|error| format!("could not read {}: {error}", directory.display()))
    });
    let code = match files {
        Ok(files) => {
            let entry = |(name, path): &(String, String)| {
                let (name, path) = (Literal::string(name), Literal::string(path));
                format!("({name}, ::core::include_str!({path})),")
            };
            format!("&[{}]", files.iter().map(entry).collect::<String>())
        }
        Err(message) => format!("::core::compile_error!({})", Literal::string(&message)),
    };
    // It is made of literals and two well-known macros.
    code.parse().unwrap_or_default()
}

fn directory(input: TokenStream) -> Result<PathBuf, String> {
    let mut tokens = input.into_iter();
    let (Some(TokenTree::Literal(literal)), None) = (tokens.next(), tokens.next()) else {
        return Err("expected a directory in quotes, for example \"migrations\"".to_owned());
    };
    let literal = literal.to_string();
    let text = literal.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(text) = text.filter(|text| !text.contains('\\')) else {
        return Err(format!("{literal} is not a plain string, expected a directory like \"migrations\""));
    };
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set, is this cargo?")?;
    Ok(Path::new(&manifest).join(text))
}

/// The `.sql` files of a directory and of those in it, in order: name and full path.
fn list(directory: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for (name, path) in entries(directory)? {
        if path.is_dir() {
            let inner = entries(&path)?.into_iter().filter(|(_, path)| !path.is_dir());
            files.extend(inner.map(|(file, path)| (format!("{name}/{file}"), path)));
        } else {
            files.push((name, path));
        }
    }
    files.retain(|(name, _)| name.to_ascii_lowercase().ends_with(".sql"));
    let text = |(name, path): (String, PathBuf)| match path.into_os_string().into_string() {
        Ok(path) => Ok((name, path)),
        Err(_) => Err(io::Error::other(format!("the path of {name} is not UTF-8"))),
    };
    files.into_iter().map(text).collect()
}

/// What is hidden belongs to other programs.
fn entries(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}
