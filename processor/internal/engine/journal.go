package engine

import (
	"cmp"
	"hash/crc64"
	"slices"
)

// ledgerOfCommits is what a task knows of its journal: which commits it still holds and how much of them is garbage.
type ledgerOfCommits struct {
	commits   []commitInfo // those that have not been trimmed, oldest first
	last      uint64       // number of the newest commit
	delivered uint64       // outboxes up to this commit have reached their topics
	bytes     int          // of all commits held
	first     uint64       // number of the commit that a restore began with; 0: with what the database has
	needed    uint64       // number of the oldest commit that was needed when the newest one was made; 0: not known
	written   int          // bytes of the newest commit but for what has ridden along
	riding    int          // bytes that ride along with the next commit
	// recorded is what the newest commit says of delivered, withOutbox the newest commit that has produced anything.
	recorded, withOutbox uint64
}

type commitInfo struct {
	place64 // seq is 0 while it is on its way
	bytes   int
	outbox  []byte // undecoded; while restoring only
}

// trimSlack is the garbage that a journal may always hold, in bytes: below it, trimming costs more than it frees.
const trimSlack = 64 << 10

func (l *ledgerOfCommits) add(number uint64, bytes int) {
	l.last, l.written, l.riding = number, bytes-l.riding, 0
	l.commits = append(l.commits, commitInfo{place64: place64{number: number}, bytes: bytes})
	l.bytes += bytes
}

func (l *ledgerOfCommits) appended(number, seq uint64) {
	for i := len(l.commits) - 1; i >= 0; i-- {
		if l.commits[i].number == number {
			l.commits[i].seq = seq
			return
		}
	}
}

// lastSeq is the place of the newest commit in the journal; 0: there is none.
func (l *ledgerOfCommits) lastSeq() uint64 {
	if n := len(l.commits); n > 0 {
		return l.commits[n-1].seq
	}
	return 0
}

// seqOf is the place of a commit in the journal; 0: it is not known.
func (l *ledgerOfCommits) seqOf(number uint64) uint64 {
	for _, c := range l.commits {
		if c.number == number {
			return c.seq
		}
	}
	return 0
}

// oldest is the number of the oldest commit that is needed once the one of that number has been made.
func (l *ledgerOfCommits) oldest(number uint64) uint64 {
	if len(l.commits) > 0 {
		return l.commits[0].number
	}
	return number
}

// BeginsLate reports, after a restore, that the journal no longer has all that its newest commit needs: the numbers of the oldest commit
// that is needed and of the first one that is there. A journal is trimmed after the append of the commit that says so, never before.
func (t *Task) BeginsLate() (needed, first uint64, late bool) {
	j := &t.journal
	return j.needed, j.first, j.needed != 0 && j.first > j.needed
}

// unneeded forgets the commits that the owner did not need any more, by what the newest commit says. The database may know them still,
// whose last batch a crash has taken back.
func (t *Task) unneeded(before uint64) {
	t.journal.needed = before
	n := 0
	for n < len(t.journal.commits)-1 && t.journal.commits[n].number < before {
		n++
	}
	t.forgetCommits(n)
}

// bytesBefore returns how many bytes there are of the commits before one.
func (l *ledgerOfCommits) bytesBefore(number uint64) int {
	bytes := l.bytes
	for i := len(l.commits) - 1; i >= 0 && l.commits[i].number >= number; i-- {
		bytes -= l.commits[i].bytes
	}
	return bytes
}

func (l *ledgerOfCommits) sizeHint() int {
	if n := len(l.commits); n > 0 {
		return l.commits[n-1].bytes + 256
	}
	return 256
}

// known returns the newest commit with what identifies it.
func (l *ledgerOfCommits) known(data []byte) commitInfo {
	n := len(l.commits) - 1
	c := &l.commits[n]
	c.crc = crc64.Checksum(data, crcTable)
	if n > 0 && l.commits[n-1].seq != 0 {
		c.from = l.commits[n-1].seq + 1
	}
	return *c
}

// keepOutbox remembers the outbox of a commit that is being restored, and forgets those that were delivered since.
func (l *ledgerOfCommits) keepOutbox(number uint64, outbox []byte) {
	for i := len(l.commits) - 1; i >= 0; i-- {
		c := &l.commits[i]
		switch {
		case c.number == number:
			c.outbox = outbox
		case c.number > number:
		case c.outbox == nil:
			return
		case c.number <= l.delivered:
			c.outbox = nil
		}
	}
}

func (l *ledgerOfCommits) forgetOutboxes() {
	for i := range l.commits {
		l.commits[i].outbox = nil
	}
}

// Appended tells the task where the journal holds a commit.
func (t *Task) Appended(number, seq uint64) { t.journal.appended(number, seq) }

// Delivered tells the task that the outboxes up to that commit have reached their topics, and that the commits have been stored. The
// next commit records it.
func (t *Task) Delivered(number uint64) {
	t.journal.delivered = max(t.journal.delivered, number)
	if t.disk != nil {
		t.disk.applied = max(t.disk.applied, number)
		for _, b := range t.disk.bases {
			b.cool()
		}
	}
}

// Settled reports whether the journal says of every outbox that it has been delivered, so that the next owner has nothing to
// deliver again.
func (t *Task) Settled() bool { return t.journal.recorded >= t.journal.withOutbox }

// LastCommit returns the number of the newest commit, 0 if there is none.
func (t *Task) LastCommit() uint64 { return t.journal.last }

// NumberFrom lets the commits of a task that has none begin after a number. Their numbers are part of the ids of what they produce: a task that is
// begun anew must not use those of its former life again, which topics, and receivers beyond them, may still know.
func (t *Task) NumberFrom(number uint64) {
	if t.journal.last == 0 {
		t.journal.last = number
	}
}

// JournalSize returns how many commits the journal holds, and how large they are, as far as the task knows: without those before the position from
// which it has read.
func (t *Task) JournalSize() (commits, bytes int) { return len(t.journal.commits), t.journal.bytes }

// Oldest returns the place in the journal of the oldest commit that is needed, 0 if there is none.
func (t *Task) Oldest() uint64 {
	if len(t.journal.commits) == 0 {
		return 0
	}
	return t.journal.commits[0].seq
}

// Trim returns the place in the journal before which nothing is needed any more, and forgets those commits. It is false
// when there is too little to trim to be worth a request.
func (t *Task) Trim() (before uint64, ok bool) {
	keep := t.needed()
	for _, s := range t.stores {
		if oldest := s.oldest(); oldest != 0 {
			keep = min(keep, oldest)
		}
	}
	n, bytes := 0, 0
	for n < len(t.journal.commits)-1 && t.journal.commits[n].number < keep && t.journal.commits[n+1].seq != 0 {
		bytes += t.journal.commits[n].bytes
		n++
	}
	if n == 0 || bytes < trimSlack && n < 64 {
		return 0, false
	}
	before = t.journal.commits[n-1].seq + 1
	t.forgetCommits(n)
	return before, true
}

// forgetCommits drops the n oldest commits.
func (t *Task) forgetCommits(n int) {
	if n == 0 {
		return
	}
	for i := range n {
		t.journal.commits[i].forget(t.disk)
		t.journal.bytes -= t.journal.commits[i].bytes
	}
	t.journal.commits = append([]commitInfo(nil), t.journal.commits[n:]...)
}

// needed returns the number of the commit from which on the journal is needed whatever the rows are.
func (t *Task) needed() uint64 {
	number := t.journal.delivered + 1
	if t.disk != nil {
		number = min(number, t.disk.keep())
	}
	return number
}

// forget removes what the database knows of a commit.
func (c *commitInfo) forget(s *diskState) {
	if s != nil {
		s.batch.Delete(commitKey(c.number))
	}
}

// rideShare is how many bytes of live rows ride along with each byte that is written anyway, and rideLeast how many always may.
const (
	rideShare = 3
	rideLeast = 4 << 10
)

// rideAlong adds live rows of the oldest commits to the next one when more than half of the journal is garbage, so that its head can be
// trimmed. It adds no more than keeps the work proportional to what is written anyway, and nothing where that would gain little, since
// the garbage is in commits that are needed still.
func (t *Task) rideAlong() {
	live := 0
	for _, s := range t.stores {
		live += s.liveBytes()
	}
	if t.journal.bytes <= 2*live+trimSlack || t.journal.bytesBefore(t.needed()) <= live+live/2 {
		return
	}
	budget := max(rideLeast, rideShare*t.journal.written)
	for _, s := range t.byAge() {
		budget = s.rideAlong(budget)
	}
	t.journal.riding = max(rideLeast, rideShare*t.journal.written) - budget
}

// byAge returns the stores in the order in which they hold the journal back.
func (t *Task) byAge() []store {
	type aged struct {
		store  store
		oldest uint64
	}
	stores := make([]aged, 0, len(t.stores))
	for _, s := range t.stores {
		if o := s.oldest(); o != 0 {
			stores = append(stores, aged{s, o})
		}
	}
	slices.SortStableFunc(stores, func(a, b aged) int { return cmp.Compare(a.oldest, b.oldest) })
	found := make([]store, len(stores))
	for i, a := range stores {
		found[i] = a.store
	}
	return found
}

// Follow restores an entry of a task that another owner goes on with, and forgets what that owner no longer needs. Restored
// ends a series of calls. What is on disk has the entry then, so that it can be read, and so that a restart goes on behind it.
func (t *Task) Follow(seq uint64, data []byte) error {
	if err := t.Restore(seq, data); err != nil {
		return err
	}
	if t.disk != nil {
		if !t.Confirmed() {
			return nil // the database has had it, and what follows, too
		}
		if err := t.disk.restored(); err != nil {
			return t.stateError(seq, err)
		}
	}
	for _, s := range t.stores {
		s.prune(t.now)
	}
	t.Trim()
	return nil
}

// JournalBegins tells a follower where the journal begins. The owner keeps every entry that has a live row: so there is none from before. A
// store on disk does not know that by itself, since it is the owner who sweeps.
func (t *Task) JournalBegins(seq uint64) {
	if t.disk == nil {
		return
	}
	for _, c := range t.journal.commits {
		if c.seq >= seq {
			for _, b := range t.disk.bases {
				b.raise(c.number)
			}
			return
		}
	}
}
