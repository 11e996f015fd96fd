package stream

import (
	"maps"
	"slices"
)

// copies is what a member knows of the copies that members keep of items which others hold.
type copies struct {
	ranks map[string][2]string // per item: who is first and second to keep a copy, of the members that keep some
	items []string             // those that this member follows, in order
	ready map[string]bool      // those of them whose copy is warm
	told  []string             // those of which the others have been told, in order
	news  bool                 // there is something to tell the others
	warm  map[string][]string  // per item: who else has said that its copy is warm; nil after a change
	level int                  // of those that may hold items
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
	if m.wanted[item] == m.id { // somebody waits for it; the others are told with the next heartbeat
		m.copies.news = true
		m.wake()
	}
}

// rank finds who keeps copies of what, whatever this member does itself: those that do and those that do not must agree. It is called with the
// mutex held, after a change of members.
func (m *Membership) rank(level int) {
	c := &m.copies
	for item := range c.ready { // may be on its way here now
		if _, told := slices.BinarySearch(c.told, item); !told && m.wanted[item] == m.id {
			c.news = true
		}
	}
	c.warm, c.level = nil, level
	var keepers []string
	for _, id := range m.membersOf(level) {
		if id == m.id && m.cfg.Standby || id != m.id && m.peers[id].Standby {
			keepers = append(keepers, id)
		}
	}
	c.ranks = firstTwo(keepers, m.cfg.Items)
}

// standby says who follows an item that a member holds, or held. Empty: nobody else keeps copies.
func (m *Membership) standby(item, holder string) string {
	r := m.copies.ranks[item]
	if r[0] == holder {
		return r[1]
	}
	return r[0]
}

// taker says who takes a vacant item: of the members that may, one that has a warm copy; if nobody has, the one that is about to, if its holder is
// gone; else who it belongs to. All members must come to the same result from what is in the log.
func (m *Membership) taker(item string) string {
	holder, owner := m.claims[item].Member, m.wanted[item]
	if holder == m.id || m.peers[holder] != nil || m.isWarm(item, owner) { // it begins a new life
		return owner
	}
	if warm := Standby(m.warmOf(item), item, ""); warm != "" {
		return warm
	}
	if second := m.standby(item, holder); holder != "" && second != "" {
		return second
	}
	return owner
}

// warmOf lists the members that may hold items and have a warm copy of one.
func (m *Membership) warmOf(item string) (warm []string) {
	if m.cfg.Level == m.copies.level && m.copies.ready[item] {
		warm = append(warm, m.id)
	}
	for _, id := range m.othersWarm()[item] {
		if m.peers[id].Level == m.copies.level {
			warm = append(warm, id)
		}
	}
	return warm
}

// isWarm says whether a member has a warm copy of an item.
func (m *Membership) isWarm(item, id string) bool {
	return id == m.id && m.copies.ready[item] || slices.Contains(m.othersWarm()[item], id)
}

func (m *Membership) othersWarm() map[string][]string {
	if m.copies.warm == nil {
		m.copies.warm = make(map[string][]string)
		for id, p := range m.peers {
			for _, item := range p.Ready {
				m.copies.warm[item] = append(m.copies.warm[item], id)
			}
		}
	}
	return m.copies.warm
}

// mayGo says whether an item can be asked back for the member to which it belongs.
func (m *Membership) mayGo(item string) bool {
	return m.cfg.Follow == nil || m.isWarm(item, m.wanted[item])
}

// tell lists the items that have a warm copy here, for the others to know.
func (m *Membership) tell() []string {
	m.copies.told, m.copies.news = slices.Sorted(maps.Keys(m.copies.ready)), false
	return m.copies.told
}

// keeps says whether this member follows an item so that there is a copy, and not because it is to have it. A copy that there is stays until the one
// that comes in its place is warm: of what its members have in memory a group does not lose the last copy by a change of members.
func (m *Membership) keeps(item string) bool {
	if !m.cfg.Standby {
		return false
	}
	owner := m.wanted[item]
	holder := m.claims[item].Member
	if holder == "" || holder == m.id {
		holder = owner // it is on its way
	}
	second := m.standby(item, holder)
	if second == m.id {
		return true
	}
	if !m.copies.ready[item] && m.held[item] == nil {
		return false
	}
	if second == "" {
		second = m.later[item] // which has a copy for a time to come
	}
	if second == "" { // nobody is to have one: one is left
		others := m.othersWarm()[item]
		return Standby(append(others[:len(others):len(others)], m.id), item, "") == m.id
	}
	return m.standby(item, owner) == m.id || !m.isWarm(item, second)
}

// follows says whether this member is to have a copy of an item that it does not hold, or has been asked to give back.
func (m *Membership) follows(item string) bool {
	if h := m.held[item]; h != nil && !h.revoking {
		return false
	}
	if _, follows := slices.BinarySearch(m.copies.items, item); !follows && m.held[item] == nil && m.peers[m.claims[item].Member] == nil {
		return false // free items are taken at once, and their holders may not have been heard of yet
	}
	return m.wanted[item] == m.id || m.later[item] == m.id || m.keeps(item)
}

// follow tells Follow what has changed. Only one goroutine at a time calls it.
func (m *Membership) follow() {
	if m.cfg.Follow == nil {
		return
	}
	m.mu.Lock()
	if m.fallen || m.wanted == nil { // it does not know whose they are; what it has it may need
		m.mu.Unlock()
		return
	}
	var items []string
	for _, item := range m.cfg.Items {
		if m.follows(item) {
			items = append(items, item)
		}
	}
	slices.Sort(items)
	changed := !slices.Equal(items, m.copies.items)
	m.copies.items = items
	for item := range m.copies.ready {
		if _, follows := slices.BinarySearch(items, item); !follows {
			delete(m.copies.ready, item)
			_, told := slices.BinarySearch(m.copies.told, item)
			m.copies.news = m.copies.news || told && m.held[item] == nil // nobody is to wait for this member to take it
		}
	}
	m.mu.Unlock()
	if changed {
		m.cfg.Follow(slices.Clone(items))
	}
}
