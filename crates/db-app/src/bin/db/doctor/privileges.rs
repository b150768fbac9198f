//! What the role of the service may do: no more than it needs, and what migrations will make as well.

use db_app::Database;
use db_app::prelude::*;

use super::finding::Finding;

#[derive(FromRow)]
struct Privileges {
    role: String,
    is_superuser: bool,
    creates_databases: bool,
    creates_roles: bool,
    replicates: bool,
    bypasses_row_security: bool,
    creates_in_public: bool,
    public_creates_in_public: bool,
    /// Predefined roles by which it reaches the server's files and programs.
    reaches_out: Vec<String>,
    owner: String,
    owns_database: bool,
    /// Whether it is given the tables that the owner will make.
    has_defaults: bool,
}

pub(super) async fn examine(database: &Database) -> db_app::core::Result<Vec<Finding>> {
    let may: Privileges = database
        .one(
            "SELECT r.rolname::text AS role, r.rolsuper AS is_superuser, r.rolcreatedb AS creates_databases,
                    r.rolcreaterole AS creates_roles, r.rolreplication AS replicates,
                    r.rolbypassrls AS bypasses_row_security,
                    coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), false)
                        AS creates_in_public,
                    coalesce(has_schema_privilege('public', to_regnamespace('public'), 'CREATE'), false)
                        AS public_creates_in_public,
                    ARRAY(SELECT p.rolname::text FROM pg_catalog.pg_roles p
                          WHERE p.rolname IN ('pg_execute_server_program', 'pg_read_server_files',
                                              'pg_write_server_files')
                            AND pg_has_role(p.oid, 'MEMBER') ORDER BY 1) AS reaches_out,
                    pg_get_userbyid(d.datdba)::text AS owner,
                    pg_has_role(d.datdba, 'MEMBER') AS owns_database,
                    EXISTS (SELECT FROM pg_catalog.pg_default_acl acl,
                                        LATERAL aclexplode(acl.defaclacl) AS item
                            WHERE acl.defaclobjtype = 'r' AND acl.defaclrole = d.datdba
                              AND item.privilege_type = 'SELECT'
                              AND (item.grantee = 0 OR pg_has_role(item.grantee, 'USAGE'))) AS has_defaults
             FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
             WHERE r.rolname = current_user AND d.datname = current_database()",
            &[],
        )
        .await?;
    Ok(judge(&may))
}

fn judge(may: &Privileges) -> Vec<Finding> {
    let role = &may.role;
    let check = |what: &str, has: bool| {
        let check = format!("privilege {what}");
        if !has {
            return Finding::ok(check, format!("{role} lacks it"));
        }
        let fix = "services should connect as a role without it (docker/init/002_application_role.sh)";
        Finding::problem(check, format!("{role} has it"), fix)
    };
    let mut findings = vec![
        check("superuser", may.is_superuser),
        check("create databases", may.creates_databases),
        check("create roles", may.creates_roles),
        check("replication", may.replicates),
        check("bypass row security", may.bypasses_row_security),
        check("create in schema public", may.creates_in_public),
    ];
    let files = "files and programs of the server";
    findings.push(match &*may.reaches_out {
        // A superuser is a member of all.
        _ if may.is_superuser => check(files, true),
        [] => check(files, false),
        roles => {
            let roles = roles.join(", ");
            let fix = format!("REVOKE {roles} FROM {role}, or from the role by which it is a member");
            Finding::problem(format!("privilege {files}"), format!("{role} has it by {roles}"), fix)
        }
    });
    findings.push(if may.public_creates_in_public {
        let note = "everybody may create tables and functions there";
        Finding::problem("schema public", note, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    } else {
        Finding::ok("schema public", "not everybody may create there")
    });
    let owner = &may.owner;
    findings.push(if may.owns_database {
        let note = format!("{role} has the rights of the owner of the database, {owner}, and could drop it");
        let fix = "let another role own the database and migrate it (DATABASE_MIGRATION_URL)";
        Finding::advice("default privileges", note, fix)
    } else if may.has_defaults {
        Finding::ok("default privileges", format!("{role} may use the tables that {owner} will create"))
    } else {
        let fix = format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"{owner}\" IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO \"{role}\""
        );
        let note = format!("tables that {owner} creates are closed to {role} unless each is granted");
        Finding::advice("default privileges", note, fix)
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Grade;

    fn least() -> Privileges {
        Privileges {
            role: "app".to_owned(),
            is_superuser: false,
            creates_databases: false,
            creates_roles: false,
            replicates: false,
            bypasses_row_security: false,
            creates_in_public: false,
            public_creates_in_public: false,
            reaches_out: Vec::new(),
            owner: "ann".to_owned(),
            owns_database: false,
            has_defaults: true,
        }
    }

    #[test]
    fn too_much_power_is_a_problem() {
        let check = |change: fn(&mut Privileges), expect: Option<(&str, Grade)>| {
            let mut may = least();
            change(&mut may);
            let findings = judge(&may);
            let bad: Vec<_> = findings.iter().filter(|it| it.grade != Grade::Ok).collect();
            let found: Vec<_> = bad.iter().map(|it| (&*it.check, it.grade)).collect();
            assert_eq!(found, expect.into_iter().collect::<Vec<_>>());
            assert!(bad.iter().all(|it| it.fix.is_some()));
        };
        check(|_| {}, None);
        check(|may| may.creates_roles = true, Some(("privilege create roles", Grade::Problem)));
        check(
            |may| may.bypasses_row_security = true,
            Some(("privilege bypass row security", Grade::Problem)),
        );
        check(
            |may| may.creates_in_public = true,
            Some(("privilege create in schema public", Grade::Problem)),
        );
        check(|may| may.public_creates_in_public = true, Some(("schema public", Grade::Problem)));
        check(|may| may.has_defaults = false, Some(("default privileges", Grade::Advice)));
        let reaches: fn(&mut Privileges) = |may| may.reaches_out = vec!["pg_read_server_files".to_owned()];
        check(reaches, Some(("privilege files and programs of the server", Grade::Problem)));
        check(
            |may| (may.has_defaults, may.owns_database) = (false, true),
            Some(("default privileges", Grade::Advice)),
        );
    }
}
