package stream

// assign finds what belongs to whom: to members of the lowest level that there is. It is called with the mutex held.
func (m *Membership) assign() {
	lowest := m.cfg.Level
	for _, p := range m.peers {
		lowest = min(lowest, p.Level)
	}
	members := m.membersOf(lowest)
	m.wanted, m.later = Assign(members, m.cfg.Items), nil
	if lowest < m.cfg.Level {
		m.later = Assign(m.membersOf(m.cfg.Level), m.cfg.Items)
	}
	m.rank(members)
}

func (m *Membership) membersOf(level int) []string {
	var members []string
	if m.cfg.Level == level {
		members = append(members, m.id)
	}
	for id, p := range m.peers {
		if p.Level == level {
			members = append(members, id)
		}
	}
	return members
}
