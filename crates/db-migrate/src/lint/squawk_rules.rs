//! Which of squawk's rules run here, and why the others do not. The list is complete, and a new version of squawk with a
//! rule more does not compile until it is in here.

use squawk_linter::Rule;

use super::Severity::{self, Advice, Error, Warning};

/// What becomes of a rule.
pub(super) enum Use {
    /// It runs.
    On(On),
    /// It does not, for this reason.
    Off(
        #[cfg_attr(not(test), expect(dead_code, reason = "the reason is for readers and the test"))]
        &'static str,
    ),
}

/// How a rule is reported.
pub(super) struct On {
    pub(super) severity: Severity,
    pub(super) about: About,
    /// What is wrong; empty to take squawk's words, which name the place.
    pub(super) why: &'static str,
    pub(super) instead: &'static str,
}

/// What a rule is about.
pub(super) enum About {
    /// Every statement.
    Any,
    /// What existed before the file: nobody waits for a table that nobody knows yet.
    Existing,
    /// Programs that run while the file does: of no interest in a file that says `phase: contract`.
    Clients,
}

/// All of squawk's rules.
pub(super) fn all() -> impl Iterator<Item = Rule> {
    NAMES.iter().filter_map(|name| Rule::try_from(*name).ok())
}

/// The names of all of squawk's rules.
pub(super) fn names() -> impl Iterator<Item = String> {
    NAMES.iter().map(|name| (*name).to_owned())
}

fn on(severity: Severity, about: About, why: &'static str, instead: &'static str) -> Use {
    Use::On(On { severity, about, why, instead })
}

const RETIRE: &str =
    "first release a program that does not use it, then do this in a file with `-- phase: contract`";
const RENAME: &str = "add the new name beside the old one (a column and a trigger, or a view), move the programs, then \
                      drop the old one in a file with `-- phase: contract`";

const OTHER_CLIENTS: &str =
    "it guards programs that no one here releases; `-- phase:` says what may change when";
const SECURITY: &str = "rights and policies are reviewed by people: each change of them is meant";
const OWN_TRANSACTIONS: &str =
    "no file may begin or end a transaction: the splitter refuses it before anything runs";
const TIMEOUTS: &str = "the runner sets lock_timeout and statement_timeout for every file";

/// What becomes of a rule of squawk's.
pub(super) fn of(rule: Rule) -> Use {
    use About::{Any, Clients, Existing};
    use Use::Off;
    match rule {
        Rule::RequireConcurrentIndexCreation => on(
            Warning,
            Existing,
            "CREATE INDEX lets nobody write to the table until the index is built",
            "CREATE INDEX CONCURRENTLY, in a file of its own with `-- no-transaction`",
        ),
        Rule::RequireConcurrentIndexDeletion => on(
            Warning,
            Existing,
            "DROP INDEX waits for every query on the table, and lets nobody read or write behind it",
            "DROP INDEX CONCURRENTLY, in a file of its own with `-- no-transaction`",
        ),
        Rule::RequireConcurrentReindex => on(
            Warning,
            Existing,
            "REINDEX lets nobody write, and stops most reads, until the index is built",
            "REINDEX (CONCURRENTLY), in a file with `-- no-transaction`",
        ),
        Rule::RequireConcurrentPartitionDetach => on(
            Warning,
            Existing,
            "DETACH PARTITION locks the whole partitioned table against reads and writes",
            "DETACH PARTITION … CONCURRENTLY, in a file with `-- no-transaction`",
        ),
        Rule::ConstraintMissingNotValid => on(
            Warning,
            Existing,
            "the constraint is checked against every row while nobody reads or writes",
            "ADD CONSTRAINT … NOT VALID here, and VALIDATE CONSTRAINT in the next file",
        ),
        Rule::AddingForeignKeyConstraint => on(
            Warning,
            Existing,
            "the foreign key is checked against every row while nobody writes to either table",
            "ADD CONSTRAINT … FOREIGN KEY … NOT VALID here, and VALIDATE CONSTRAINT in the next file",
        ),
        Rule::DisallowedUniqueConstraint => on(
            Warning,
            Existing,
            "the index behind UNIQUE is built while nobody reads or writes",
            "CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT … UNIQUE USING INDEX in the next file",
        ),
        Rule::AddingSerialPrimaryKeyField => on(
            Warning,
            Existing,
            "the index behind PRIMARY KEY is built while nobody reads or writes",
            "CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT … PRIMARY KEY USING INDEX in the next file",
        ),
        Rule::AddingFieldWithDefault => on(
            Warning,
            Existing,
            "the value is computed for each row, so the table is rewritten while nobody reads or writes",
            "add the column without it, SET DEFAULT for new rows, and fill the old ones in batches",
        ),
        Rule::AddingRequiredField => on(
            Warning,
            Existing,
            "NOT NULL without a default fails if the table has rows, and breaks programs that insert without the column",
            "add it with a DEFAULT, or as NULL and SET NOT NULL once every row has a value",
        ),
        Rule::AddingNotNullableField => on(
            Warning,
            Existing,
            "SET NOT NULL reads every row while nobody else reads or writes",
            "ADD CHECK (… IS NOT NULL) NOT VALID, VALIDATE it in the next file, then SET NOT NULL, which trusts the CHECK",
        ),
        Rule::ChangingColumnType => on(
            Warning,
            Existing,
            "a new type mostly rewrites the table while nobody reads or writes, and programs may not expect it",
            "add a column of the new type, fill it by a trigger and in batches, then move the programs over",
        ),
        Rule::BanTruncateCascade => on(
            Warning,
            Existing,
            "CASCADE also empties every table that points to this one, and every table that points to those",
            "TRUNCATE with the names of all tables that are meant",
        ),
        Rule::BanAlterDomainWithAddConstraint => on(
            Warning,
            Existing,
            "every table with a column of the domain is read while nobody writes to it",
            "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in the next file",
        ),
        Rule::IdentifierTooLong => {
            on(Warning, Any, "", "a name of at most 63 bytes: the server cuts it off without an error")
        }
        Rule::BanDuplicateColumnAssignments => {
            on(Error, Any, "", "name each column once: the server refuses this")
        }
        Rule::RenamingColumn => {
            on(Warning, Clients, "programs that run now do not know the new name", RENAME)
        }
        Rule::RenamingTable => on(Warning, Clients, "programs that run now do not know the new name", RENAME),
        Rule::BanSetSchema => {
            on(Warning, Clients, "programs that run now look for it in the old schema", RENAME)
        }
        Rule::BanDropColumn => {
            on(Warning, Clients, "programs that run now may name the column, and its data is gone", RETIRE)
        }
        Rule::BanDropTable => {
            on(Warning, Clients, "programs that run now may use the table, and its data is gone", RETIRE)
        }
        Rule::BanDropView => on(Warning, Clients, "programs that run now may read the view", RETIRE),
        Rule::BanDropFunction => on(Warning, Clients, "programs that run now may call it", RETIRE),
        Rule::BanDropType => on(Warning, Clients, "programs that run now may use it", RETIRE),
        Rule::BanDropDomain => on(Warning, Clients, "programs that run now may use it", RETIRE),
        Rule::BanDropSchema => on(Warning, Clients, "programs that run now may use what is in it", RETIRE),
        Rule::BanDropSequence => {
            on(Warning, Clients, "programs that run now may draw numbers from it", RETIRE)
        }
        Rule::BanDropExtension => {
            on(Warning, Clients, "programs that run now may use its types and functions", RETIRE)
        }
        Rule::BanDropDefault => on(
            Warning,
            Clients,
            "programs that run now may insert without the column and count on its default",
            RETIRE,
        ),
        Rule::BanDropDatabase => on(
            Error,
            Any,
            "no migration of a database drops one",
            "leave it to those who look after the server",
        ),
        Rule::PreferTextField => on(
            Advice,
            Any,
            "a shorter or longer varchar(n) later is a change of type",
            "text, with a CHECK on its length if there is a limit",
        ),
        Rule::PreferTimestampTz => on(
            Advice,
            Any,
            "timestamp drops the offset: the same instant is stored differently for each time zone",
            "timestamptz",
        ),
        Rule::PreferIdentity => on(
            Advice,
            Any,
            "the sequence of a serial column is an object of its own, with rights of its own",
            "GENERATED BY DEFAULT AS IDENTITY",
        ),
        Rule::PreferBigintOverInt => on(
            Advice,
            Any,
            "a key of 32 bits ends at 2,147,483,647, and widening it rewrites the table",
            "bigint",
        ),
        Rule::BanCharField => on(
            Advice,
            Any,
            "char(n) pads with spaces, and ignores them in comparisons",
            "text, with a CHECK if its length is fixed",
        ),
        // Reported by squawk whether it runs or not; `squawk` turns it into `unknown-rule`.
        Rule::UnusedIgnore => Off("our unknown-rule says the same, also for our own directive"),

        Rule::RequireTimeoutSettings | Rule::RequireLockTimeout | Rule::RequireStatementTimeout => {
            Off(TIMEOUTS)
        }
        Rule::TransactionNesting | Rule::BanUncommittedTransaction => Off(OWN_TRANSACTIONS),
        Rule::BanConcurrentIndexCreationInTransaction => Off("the splitter refuses it before anything runs"),
        Rule::PreferRobustStmts => {
            Off("the runner records what ran: IF NOT EXISTS would hide that something else is in the way")
        }
        Rule::PreferRepack => Off("REPACK is of PostgreSQL 19"),
        Rule::PreferBigintOverSmallint => Off("nobody writes smallint by accident"),
        Rule::RequireEnumValueOrdering => Off("at the end is where a new value mostly belongs"),
        Rule::RequireTableSchema => Off("search_path is part of how the runner connects"),
        Rule::BanCreateDomainWithConstraint => {
            Off("no table uses a new domain yet; the trouble begins with ALTER DOMAIN, which has a rule")
        }
        Rule::BanDropNotNull => {
            Off("it lets more values in, which is how a column is retired in an expand file")
        }
        Rule::BanDropConstraint => Off("it lets more values in; the rule can not tell a CHECK from a key"),
        Rule::BanDropGeneratedExpression => Off("the column stays readable as it was"),
        Rule::RenamingObject => Off("mostly constraints, indexes and roles, whose names programs do not use"),
        Rule::BanAlterIdentity => Off("programs that insert without the column go on; the rule can not tell"),
        Rule::BanDropTrigger
        | Rule::BanAlterGeneratedExpression
        | Rule::BanDropIndex
        | Rule::BanSetDefault
        | Rule::BanDisableTrigger
        | Rule::BanReplicaIdentity
        | Rule::BanReplaceViewFunction
        | Rule::BanAlterFunctionOptions
        | Rule::BanAlterViewOptions
        | Rule::BanAlterDatabaseOptions
        | Rule::BanNewWriteRestriction
        | Rule::BanAddEnumValue
        | Rule::BanAddCompositeAttribute
        | Rule::BanAddColumn
        | Rule::BanDetachInheritance
        | Rule::BanAlterSequenceValues
        | Rule::BanAlterSystemOptions
        | Rule::BanAlterExtension => Off(OTHER_CLIENTS),
        Rule::BanDropPolicy
        | Rule::BanRevoke
        | Rule::BanAlterPolicyCondition
        | Rule::BanAlterPolicyRoles
        | Rule::BanCreatePolicy
        | Rule::BanAlterRoleOptions
        | Rule::BanAlterRowLevelSecurity => Off(SECURITY),
    }
}

/// Squawk can not list its rules by itself.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "require-concurrent-index-creation", "require-concurrent-index-deletion", "constraint-missing-not-valid",
    "adding-field-with-default", "adding-foreign-key-constraint", "changing-column-type",
    "adding-not-nullable-field", "adding-serial-primary-key-field", "renaming-column", "renaming-table",
    "disallowed-unique-constraint", "ban-drop-database", "prefer-bigint-over-int", "prefer-bigint-over-smallint",
    "prefer-identity", "prefer-repack", "prefer-robust-stmts", "prefer-text-field", "prefer-timestamptz",
    "prefer-timestamp-tz", "ban-char-field", "ban-drop-column", "ban-drop-table", "ban-drop-not-null",
    "transaction-nesting", "adding-required-field", "ban-concurrent-index-creation-in-transaction",
    "ban-create-domain-with-constraint", "ban-alter-domain-with-add-constraint", "ban-truncate-cascade",
    "require-timeout-settings", "ban-uncommitted-transaction", "require-enum-value-ordering",
    "require-table-schema", "identifier-too-long", "require-concurrent-partition-detach",
    "require-concurrent-reindex", "require-lock-timeout", "require-statement-timeout",
    "ban-duplicate-column-assignments", "ban-drop-view", "ban-drop-function", "ban-drop-type", "ban-drop-default",
    "ban-drop-trigger", "ban-drop-schema", "ban-drop-sequence", "ban-drop-domain", "ban-drop-constraint",
    "ban-drop-generated-expression", "renaming-object", "ban-set-schema", "ban-alter-identity",
    "ban-drop-extension", "ban-alter-generated-expression", "ban-drop-index", "ban-set-default",
    "ban-disable-trigger", "ban-replica-identity", "ban-drop-policy", "ban-revoke", "ban-replace-view-function",
    "ban-alter-policy-condition", "ban-alter-policy-roles", "ban-create-policy", "ban-alter-function-options",
    "ban-alter-view-options", "ban-alter-role-options", "ban-alter-database-options",
    "ban-alter-row-level-security", "ban-new-write-restriction", "ban-add-enum-value",
    "ban-add-composite-attribute", "ban-add-column", "ban-detach-inheritance", "ban-alter-sequence-values",
    "ban-alter-system-options", "ban-alter-extension",
];
