//! The branches of one request, numbered from 1 in the order in which they were promised.

use crate::branch::BranchId;
use crate::forward::Branch;

/// Nearly every request has one: room is made for as many as there are.
#[derive(Debug, Default)]
pub(crate) struct Branches(Vec<Branch>);

impl Branches {
    /// What the next one will be called.
    pub(crate) fn next_id(&self) -> BranchId {
        BranchId(self.0.len() as u32 + 1)
    }

    pub(crate) fn push(&mut self, branch: Branch) {
        self.0.reserve_exact(1);
        self.0.push(branch);
    }

    pub(crate) fn get(&self, id: BranchId) -> Option<&Branch> {
        self.0.get((id.0 as usize).checked_sub(1)?)
    }

    pub(crate) fn get_mut(&mut self, id: BranchId) -> Option<&mut Branch> {
        self.0.get_mut((id.0 as usize).checked_sub(1)?)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (BranchId, &Branch)> {
        (1..).map(BranchId).zip(&self.0)
    }

    /// Those promised after `id`.
    pub(crate) fn after(&self, id: BranchId) -> &[Branch] {
        self.0.get(id.0 as usize..).unwrap_or_default()
    }
}
