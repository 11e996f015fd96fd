package stream

import "slices"

// copies is what a member knows of the copies that members keep of items which others hold.
type copies struct {
	ranks map[string][2]string // per item: who is first and second to keep a copy; with Standby only
	items []string             // those that this member follows, in order
	ready map[string]bool      // those of them whose copy is warm
	news  bool                 // there is something to tell the others
}

// Ready says that this member's copy of an item is warm: it can go on with little delay.
func (m *Membership) Ready(item string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, follows := slices.BinarySearch(m.copies.items, item); !follows || m.copies.ready[item] {
		return
	}
	if m.copies.ready == nil {
		m.copies.ready = make(map[string]bool)
	}
	m.copies.ready[item] = true
	if m.wanted[item] == m.id {
		m.copies.news = true
		m.wake()
	}
}

// rank finds who keeps copies of what. It is called with the mutex held, after a change of members.
func (m *Membership) rank(members []string) {
	m.copies.news = m.copies.news || len(m.copies.ready) > 0 // another item may be on its way here
	if !m.cfg.Standby {
		return
	}
	m.copies.ranks = make(map[string][2]string, len(m.cfg.Items))
	for _, item := range m.cfg.Items {
		first := Standby(members, item, "")
		m.copies.ranks[item] = [2]string{first, Standby(members, item, first)}
	}
}

// standby says who follows an item that a member holds, or held.
func (m *Membership) standby(item, holder string) string {
	r := m.copies.ranks[item]
	if r[0] == holder {
		return r[1]
	}
	return r[0]
}

// taker says who takes a vacant item: who has a copy if its holder is gone, else who it belongs to.
func (m *Membership) taker(item string) string {
	holder := m.claims[item].Member
	if m.cfg.Standby && holder != "" && holder != m.id && m.peers[holder] == nil {
		return m.standby(item, holder)
	}
	return m.wanted[item]
}

// mayGo says whether an item can be asked back for the member to which it belongs.
func (m *Membership) mayGo(item string) bool {
	if m.cfg.Follow == nil {
		return true
	}
	p := m.peers[m.wanted[item]]
	return p != nil && slices.Contains(p.Ready, item)
}

// warm lists the items that are to come and have a warm copy here.
func (m *Membership) warm() []string {
	var items []string
	for _, item := range m.copies.items {
		if m.copies.ready[item] && m.wanted[item] == m.id {
			items = append(items, item)
		}
	}
	return items
}

// follow tells Follow what has changed. It begins with items that somebody holds: others are taken at once, and their holders may not have
// been heard of yet. Only one goroutine at a time calls it.
func (m *Membership) follow() {
	if m.cfg.Follow == nil {
		return
	}
	m.mu.Lock()
	var items []string
	for _, item := range m.cfg.Items {
		claim := m.claims[item]
		_, follows := slices.BinarySearch(m.copies.items, item)
		if m.held[item] != nil || !follows && m.peers[claim.Member] == nil {
			continue
		}
		if m.wanted[item] == m.id || m.later[item] == m.id || m.cfg.Standby && m.standby(item, claim.Member) == m.id {
			items = append(items, item)
		}
	}
	slices.Sort(items)
	changed := !slices.Equal(items, m.copies.items)
	m.copies.items = items
	for item := range m.copies.ready {
		if _, follows := slices.BinarySearch(items, item); !follows {
			delete(m.copies.ready, item)
		}
	}
	m.mu.Unlock()
	if changed {
		m.cfg.Follow(slices.Clone(items))
	}
}
