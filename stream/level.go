package stream

// assign finds what belongs to whom: to members of the lowest level that there is. It is called with the mutex held.
func (m *Membership) assign() {
	lowest := m.lowest()
	m.wanted, m.later = Assign(m.membersOf(lowest), m.cfg.Items), nil
	if lowest < m.cfg.Level {
		m.later = Assign(m.membersOf(m.cfg.Level), m.cfg.Items)
	}
	m.rank(lowest)
}

// lowest is the level of those that may hold items.
func (m *Membership) lowest() int {
	lowest := m.cfg.Level
	for _, p := range m.peers {
		lowest = min(lowest, p.Level)
	}
	return lowest
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
