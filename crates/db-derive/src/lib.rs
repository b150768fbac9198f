//! `#[derive(FromRow)]`: a struct from a row, columns by name. Use it through `db_core::FromRow`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Result, parse_macro_input};

/// Reads each field from the column of the same name, or of the name given by `#[row(rename = "...")]`.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn from_row(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(name.span(), "FromRow is derived for structs only"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(name.span(), "FromRow needs named fields: columns are read by name"));
    };
    let core = core_path();
    let mut reads = Vec::new();
    for field in &fields.named {
        let column = column_name(field)?;
        let ident = &field.ident;
        reads.push(quote!(#ident: #core::__column(&row, #column)?));
    }
    let (generics, types, clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #generics #core::FromRow for #name #types #clause {
            fn from_row(row: #core::Row) -> #core::Result<Self> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }
        }
    })
}

/// Where the user's crate finds `db_core`: as itself, or through `db_app`, whichever it depends on.
fn core_path() -> TokenStream {
    match (crate_name("db-core"), crate_name("db-app")) {
        (Ok(FoundCrate::Name(name)), _) => path(&name),
        (Err(_), Ok(FoundCrate::Name(name))) => {
            let app = path(&name);
            quote!(#app::core)
        }
        _ => quote!(::db_core),
    }
}

fn path(name: &str) -> TokenStream {
    let ident = Ident::new(name, Span::call_site());
    quote!(::#ident)
}

fn column_name(field: &Field) -> Result<String> {
    let mut name = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename") {
                return Err(meta.error("unknown option, expected `rename = \"...\"`"));
            }
            name = Some(meta.value()?.parse::<LitStr>()?.value());
            Ok(())
        })?;
    }
    match (name, &field.ident) {
        (Some(name), _) => Ok(name),
        (None, Some(ident)) => Ok(ident.to_string().trim_start_matches("r#").to_owned()),
        (None, None) => Err(Error::new(field.span(), "FromRow needs named fields")),
    }
}
