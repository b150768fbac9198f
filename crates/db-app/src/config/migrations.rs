//! What the environment says of migrations: where the files are, by which way they reach the server, where the history is
//! kept, and how long to wait for others.

use std::path::PathBuf;

use db_migrate::{HistoryTable, SchemaRange, Settings};
use db_pool::Target;

use super::layers::Raw;
use super::postgres::hidden;
use super::read::{Reader, variable};
use super::{Environment, Source};

/// How a schema is migrated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MigrationConfig {
    /// The folder with the migrations.
    pub dir: PathBuf,
    /// Whether that folder was named by somebody: then it must exist.
    pub is_dir_given: bool,
    /// The folder with the seeds.
    pub seeds_dir: PathBuf,
    /// The way around a pooler, which would change the session between transactions; `None` takes the way of everything
    /// else.
    pub target: Option<Box<Target>>,
    /// The history table, and how long to wait for others.
    pub settings: Settings,
    /// The versions of the schema that the program can work with: it is ready on these only.
    pub schema_version: Option<SchemaRange>,
}

impl Reader<'_> {
    /// `given` is the server of everything else; `None` when one is to be started, or was not understood.
    pub(super) fn migrations(
        &mut self,
        environment: Environment,
        is_server_given: bool,
        given: Option<&Target>,
    ) -> MigrationConfig {
        let target = self.migration_target(environment, is_server_given, given);
        let dir = self.text("DB_MIGRATIONS_DIR", Some("migrations"), |_| true);
        let seeds_dir = self.text("DB_SEEDS_DIR", Some("seeds"), |_| true);
        let mut settings = Settings::default();
        settings.table = self.parsed::<HistoryTable>("DB_MIGRATION_TABLE", settings.table);
        settings.lock_timeout =
            self.millis("DB_MIGRATION_LOCK_TIMEOUT_MS", settings.lock_timeout, 0, Source::Default);
        settings.lock_wait = self.millis("DB_MIGRATION_LOCK_WAIT_MS", settings.lock_wait, 0, Source::Default);
        let schema_version = self.text("DB_SCHEMA_VERSION", None, |text| text.parse::<SchemaRange>().is_ok());
        let schema_version = schema_version.and_then(|text| text.parse().ok());
        MigrationConfig {
            dir: PathBuf::from(dir.unwrap_or_default()),
            is_dir_given: self.is_set("DB_MIGRATIONS_DIR"),
            seeds_dir: PathBuf::from(seeds_dir.unwrap_or_default()),
            target: target.map(Box::new),
            settings,
            schema_version,
        }
    }

    /// The URL for migrations.
    fn migration_target(
        &mut self,
        environment: Environment,
        is_server_given: bool,
        given: Option<&Target>,
    ) -> Option<Target> {
        let name = "DATABASE_MIGRATION_URL";
        let url = self.find(name);
        let found = url.as_ref().and_then(|url| {
            if !is_server_given {
                self.warnings.push(format!("{} is ignored, since no server is given", url.name));
                return None;
            }
            self.target_beside(environment, url, given)
        });
        let shown = |url: &Raw<'_>| match &found {
            Some(target) => target.masked(),
            None => hidden(url.value).to_owned(),
        };
        let shown = url.as_ref().map(shown);
        self.show(variable(name), url.as_ref(), shown, Source::Default);
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::tests::{load, refused, shown};
    use super::*;

    const SERVER: (&str, &str) = ("DATABASE_URL", "postgres://app:first@localhost:6432/d");

    /// A2, A3: the defaults of the library, and each of them can be changed.
    #[test]
    fn the_variables_reach_the_migrator() {
        let config = load(&[]).migrations;
        assert_eq!((config.dir.as_path(), config.is_dir_given), (Path::new("migrations"), false));
        assert_eq!(config.seeds_dir, Path::new("seeds"));
        assert_eq!(config.settings.table.to_string(), "public.schema_migrations");
        assert_eq!(config.settings.lock_timeout, Duration::from_secs(2));
        assert_eq!(config.settings.lock_wait, Duration::from_secs(60));

        let config = load(&[
            ("DB_MIGRATIONS_DIR", "sql"),
            ("DB_SEEDS_DIR", "dev"),
            ("DB_MIGRATION_TABLE", "ops.history"),
            ("DB_MIGRATION_LOCK_TIMEOUT_MS", "0"),
            ("DB_MIGRATION_LOCK_WAIT_MS", "7"),
        ]);
        assert_eq!(shown(&config, "DB_MIGRATION_TABLE"), (Some("ops.history"), Source::Environment));
        let config = config.migrations;
        assert_eq!((config.dir.as_path(), config.is_dir_given), (Path::new("sql"), true));
        assert_eq!(config.seeds_dir, Path::new("dev"));
        assert_eq!(config.settings.table.to_string(), "ops.history");
        assert_eq!(config.settings.lock_timeout, Duration::ZERO);
        assert_eq!(config.settings.lock_wait, Duration::from_millis(7));
        assert_eq!(
            refused(&[("DB_MIGRATION_TABLE", "a.b.c")]),
            "DB_MIGRATION_TABLE=a.b.c (environment): expected table or schema.table, of letters, digits and underscores"
        );
    }

    /// A3: the way for migrations is another one to the same server, and says no secret.
    #[test]
    fn migrations_have_a_way_of_their_own() {
        assert!(load(&[SERVER]).migrations.target.is_none());
        let config = load(&[SERVER, ("DATABASE_MIGRATION_URL", "postgres://owner:secret@localhost/d")]);
        let target = config.migrations.target.as_ref().expect("a target");
        assert_eq!((target.endpoint().as_str(), target.user()), ("localhost:5432", Some("owner")));
        let (value, _) = shown(&config, "DATABASE_MIGRATION_URL");
        let masked = value.expect("a value");
        assert!(masked.contains("owner:***@") && !masked.contains("secret"), "{masked}");

        // The password is the role's, whichever way it takes.
        let check = |url: &str, has_password: bool| {
            let target =
                load(&[SERVER, ("DATABASE_MIGRATION_URL", url)]).migrations.target.expect("a target");
            assert_eq!(target.masked().contains("***"), has_password, "{url}");
        };
        check("postgres://app@localhost/d", true);
        check("postgres://owner@localhost/d", false);
    }

    #[test]
    fn a_way_for_migrations_that_cannot_be_used_is_said() {
        let text = refused(&[SERVER, ("DATABASE_MIGRATION_URL", "postgres://owner:secret@localhost:port/d")]);
        assert!(text.starts_with("DATABASE_MIGRATION_URL=postgres://*** (environment): "), "{text}");
        let config = load(&[("DATABASE_MIGRATION_URL", "postgres://owner@localhost/d")]);
        assert_eq!(config.warnings, ["DATABASE_MIGRATION_URL is ignored, since no server is given"]);
        let text = refused(&[
            SERVER,
            ("DB_ENV", "production"),
            ("DATABASE_MIGRATION_URL", "postgres://owner@elsewhere/d?sslmode=disable"),
        ]);
        assert!(text.contains("in production the way to another machine must be encrypted"), "{text}");
    }
}
