//! Whose rights a session has.

use parking_lot::Mutex;

use crate::storage::role::RoleId;

/// Whose rights a session has; an extension of its configuration, so that everything that it runs can see it.
#[derive(Debug)]
pub struct CurrentUser {
    login: RoleId,
    acting: Mutex<Acting>,
}

#[derive(Debug, Clone, Copy)]
struct Acting {
    session: RoleId,
    /// What SET ROLE chose.
    role: Option<RoleId>,
}

impl CurrentUser {
    /// A session of the role that has logged in.
    pub fn new(login: RoleId) -> Self {
        let acting = Acting {
            session: login,
            role: None,
        };
        Self {
            login,
            acting: Mutex::new(acting),
        }
    }

    /// Who has logged in.
    pub fn login(&self) -> RoleId {
        self.login
    }

    /// `session_user`: who has logged in, or whom SET SESSION AUTHORIZATION chose.
    pub fn session(&self) -> RoleId {
        self.acting.lock().session
    }

    /// `current_user`: whose rights count.
    pub fn current(&self) -> RoleId {
        let acting = self.acting.lock();
        acting.role.unwrap_or(acting.session)
    }

    /// SET ROLE; `None` is NONE.
    pub fn set_role(&self, role: Option<RoleId>) {
        self.acting.lock().role = role;
    }

    /// SET SESSION AUTHORIZATION, which also ends SET ROLE.
    pub fn set_session(&self, session: RoleId) {
        *self.acting.lock() = Acting {
            session,
            role: None,
        };
    }
}
