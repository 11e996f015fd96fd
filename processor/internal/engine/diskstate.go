package engine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"slices"
	"strings"
	"sync"

	"github.com/rossby-streams/rossby/processor/internal/disk"
)

// ErrOtherJournal says that the journal is not the one that the database of the process follows, or no longer holds where it stands.
// DropDisk and another Restore, from the journal's beginning, make them one again.
var ErrOtherJournal = errors.New("the state database does not follow this journal")

// diskState is a task's share of the database of the process. It holds the rows of the stores that are on disk, and beside them all
// else that a restart needs (the rows of the other stores, timers, positions, what is known of the journal), so that what comes before
// its position in the journal need not be read again. It is written to when a commit has been appended and delivered: the journal is
// the truth, and the database follows.
//
// Keys: "m" is the position, "c" and a number a commit that the journal holds, "d" a row on disk, "r" a row in memory; "d" and "r" are
// followed by the name of the store and a zero byte.
type diskState struct {
	task    *Task
	space   *disk.Space
	batch   *disk.Batch // what the commit in hand changes
	applied uint64      // the database has the commits up to this one
	bases   []*diskBase
	marks   marks
	head    []byte // of the last commit: what comes before its stores
	value   []byte // scratch
	// found is the position that the database had when it was opened, until the journal has confirmed it; passed are the outboxes of
	// the commits before it whose entries have been read.
	found  *diskPosition
	passed []commitInfo
}

// diskVersion is the format of the database.
const diskVersion = 2

// diskPosition is where in the journal the database stands.
type diskPosition struct {
	number    uint64 // of the last commit that it has
	delivered uint64
	first     place64 // of the oldest commit whose entry is of use still
	head      []byte
	slices    []diskSlices // in the order of the stores
	met       bool         // first has been read
}

// place64 is an entry of the journal, known by its checksum.
type place64 struct {
	number, seq, crc uint64
	from             uint64 // no message before it belongs to the entry; 0: unknown
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// NeedsDisk reports whether a store of the task is on disk: then OpenDisk comes before the first Restore.
func (t *Task) NeedsDisk() bool {
	return slices.ContainsFunc(t.stores, func(s store) bool { return s.shape().disk })
}

// OpenDisk gives the task its share of the database. It returns from where on Restore wants the journal: 0 is its beginning.
func (t *Task) OpenDisk(space *disk.Space) (from uint64, err error) {
	t.disk = &diskState{task: t, space: space, batch: space.NewBatch()}
	for _, s := range t.stores {
		if d, ok := s.(interface{ openDisk(*diskState) *diskBase }); ok && s.shape().disk {
			t.disk.bases = append(t.disk.bases, d.openDisk(t.disk))
		}
	}
	space.Use(len(t.disk.bases))
	data, ok, err := space.Get([]byte("m"))
	if err != nil {
		return 0, fmt.Errorf("task %s: %w", t.ID(), err)
	}
	if ok {
		t.disk.found = t.disk.decodePosition(data)
	}
	if t.disk.found == nil { // new, of another version or for other stores; or a restore has not come to its end
		return 0, t.DropDisk()
	}
	return t.disk.found.first.from, nil
}

// CloseDisk gives the task's part of the memory for values to the other tasks of the process. Nothing is done with the task any more.
func (t *Task) CloseDisk() {
	if t.disk != nil {
		t.disk.space.Use(-len(t.disk.bases))
	}
}

// DropDisk empties the task's share of the database, and lets Restore begin with the first entry of the journal.
func (t *Task) DropDisk() error {
	t.disk.found, t.disk.passed = nil, nil
	if err := t.disk.space.Drop(); err != nil {
		return fmt.Errorf("task %s: %w", t.ID(), err)
	}
	return nil
}

// shape says which stores there are, where, and how long their slices are, so that a change of it is noticed.
func (s *diskState) shape() string {
	var b strings.Builder
	for _, st := range s.task.stores {
		fmt.Fprintf(&b, "%s %t %d\n", st.Name(), st.shape().disk, st.shape().slice)
	}
	return b.String()
}

// appendPosition encodes a position but for the place of its first entry in the journal.
func (s *diskState) appendPosition(dst []byte, number, delivered uint64) []byte {
	dst = append(dst, diskVersion)
	dst = appendString(dst, s.shape())
	dst = binary.AppendUvarint(dst, number)
	dst = binary.AppendUvarint(dst, delivered)
	dst = appendString(dst, s.head)
	for _, b := range s.bases {
		dst = b.diskSlices.append(dst)
	}
	return dst
}

func appendPlace(dst []byte, p place64) []byte {
	for _, v := range []uint64{p.number, p.seq, p.crc, p.from} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func (d *decoder) place() place64 {
	return place64{number: d.uvarint(), seq: d.uvarint(), crc: d.uvarint(), from: d.uvarint()}
}

// decodePosition returns nil for one that this task cannot go on from.
func (s *diskState) decodePosition(data []byte) *diskPosition {
	d := &decoder{data: data}
	if d.byte() != diskVersion || d.string() != s.shape() {
		return nil
	}
	p := &diskPosition{number: d.uvarint(), delivered: d.uvarint(), head: d.bytes()}
	for range s.bases {
		p.slices = append(p.slices, d.diskSlices())
	}
	if p.first = d.place(); d.err != nil {
		return nil
	}
	return p
}

func commitKey(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte("c"), number) }

// meet compares an entry of the journal, before anything of it is applied, with what the database says of it. done says that the
// database has it but for its outbox.
func (s *diskState) meet(p place64) (done bool, err error) {
	f := s.found
	if f == nil {
		return p.number <= s.applied, nil
	}
	if !f.met {
		f.met = p.number == f.first.number && p.seq == f.first.seq && p.crc == f.first.crc
	}
	if !f.met || p.number > f.number {
		return false, ErrOtherJournal
	}
	if p.number == f.number {
		s.found = nil
		err = s.load(f)
	}
	return true, err
}

// pass takes note of the outbox of a commit that the database has.
func (s *diskState) pass(number uint64, outbox []byte) {
	s.passed = append(s.passed, commitInfo{place64: place64{number: number}, outbox: outbox})
	if s.found != nil {
		return
	}
	for _, c := range s.passed {
		if c.number > s.task.journal.delivered {
			s.task.journal.keepOutbox(c.number, c.outbox)
		}
	}
	s.passed = nil
}

// Confirmed reports, after the last Restore, whether the journal holds all that the database does. Otherwise it is another one: see
// ErrOtherJournal.
func (t *Task) Confirmed() bool { return t.disk == nil || t.disk.found == nil }

// load gives the task back what it was at a position.
func (s *diskState) load(p *diskPosition) error {
	t := s.task
	d := &decoder{data: p.head}
	h, err := readHead(d)
	if err == nil {
		err = t.restorePositions(d, h)
	}
	if err != nil {
		return err
	}
	t.now = h.now
	for pair, err := range s.space.From([]byte("c"), nil) {
		if err != nil {
			return err
		}
		d := &decoder{data: pair.Value}
		at, size := d.place(), int(d.uvarint())
		if d.err != nil {
			return d.err
		}
		t.journal.add(at.number, size)
		t.journal.commits[len(t.journal.commits)-1].place64 = at
	}
	t.journal.last, t.journal.delivered, s.applied = p.number, p.delivered, p.number
	s.marks.durable = p.number
	s.head = bytes.Clone(p.head)
	for i, b := range s.bases {
		b.load(p.slices[i])
	}
	for _, st := range t.stores {
		if err := s.loadRows(st); err != nil {
			return fmt.Errorf("store %s: %w", st.Name(), err)
		}
	}
	return nil
}

// loadRows restores a store that is in memory. Rows must come in the order of their homes.
func (s *diskState) loadRows(st store) error {
	if st.shape().disk {
		return nil
	}
	type row struct {
		home   uint64
		change []byte
	}
	var rows []row
	for pair, err := range s.space.From(rowKey('r', st, nil), nil) {
		if err != nil {
			return err
		}
		home, n := binary.Uvarint(pair.Value)
		if n <= 0 {
			return errCorrupt
		}
		rows = append(rows, row{home, pair.Value[n:]})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.home, b.home) })
	for _, r := range rows {
		if err := st.restore(&decoder{data: r.change}, r.home); err != nil {
			return err
		}
	}
	return nil
}

func rowKey(kind byte, st store, id []byte) []byte {
	key := append([]byte{kind}, st.Name()...)
	return append(append(key, 0), id...)
}

// shape is what one must know of a store to take its changes apart.
type shape struct {
	disk    bool  // its base is in the database
	byKey   bool  // the key alone tells rows apart
	noValue bool  // rows have no value
	slice   int64 // length of the slices of time that its rows on disk are in; 0: there are none
}

// take reads one change of a store without looking into the value.
func (sh shape) take(d *decoder) (kind byte, id []byte) {
	kind = d.byte()
	before := d.data
	key := d.bytes()
	d.varint()
	d.uvarint()
	if d.err != nil {
		return 0, nil
	}
	id = before[:len(before)-len(d.data)]
	if kind == changePut && !sh.noValue {
		d.bytes()
	}
	if sh.byKey {
		id = key
	}
	return kind, id
}

// mirror puts changes of a store that is in memory into the batch, too.
func (s *diskState) mirror(st store, changes []byte, n int, number uint64) {
	if st.shape().disk {
		return
	}
	d := &decoder{data: changes}
	for range n {
		before := d.data
		kind, id := st.shape().take(d)
		if kind == changeDelete {
			s.batch.Delete(rowKey('r', st, id))
			continue
		}
		s.value = append(binary.AppendUvarint(s.value[:0], number), before[:len(before)-len(d.data)]...)
		s.batch.Set(rowKey('r', st, id), s.value)
	}
}

// gone removes a row of a store in memory that has expired: the journal is not told, the database must be.
func (t *Task) gone(st store, key string, at int64, seq uint64) {
	if t.disk == nil {
		return
	}
	id := appendString(nil, key)
	if st.shape().byKey {
		id = []byte(key)
	} else {
		id = binary.AppendUvarint(binary.AppendVarint(id, at), seq)
	}
	t.disk.batch.Delete(rowKey('r', st, id))
}

// replayBytes is how many bytes of changes are gathered, while a journal is read, before they are applied.
const replayBytes = 8 << 20

// replayed takes note of a commit that has been restored.
func (s *diskState) replayed(c commitInfo, head []byte) error {
	s.head = append(s.head[:0], head...)
	setCommit(s.batch, c)
	if s.batch.Size() < replayBytes {
		return nil
	}
	s.batch.Delete([]byte("m")) // the rows are ahead of the position: whoever finds none begins anew
	return s.apply()
}

func (s *diskState) apply() error {
	epoch, err := s.batch.Apply()
	if err == nil {
		s.marks.add(s.task.journal.last, epoch)
	}
	s.batch = s.space.NewBatch()
	for _, b := range s.bases {
		b.replayed = nil
	}
	return err
}

func setCommit(b *disk.Batch, c commitInfo) {
	b.Set(commitKey(c.number), binary.AppendUvarint(appendPlace(nil, c.place64), uint64(c.bytes)))
}

// restored applies what has been replayed. The position is that of the last commit; the first entry of use is that of the oldest one
// whose outbox may not have been delivered.
func (s *diskState) restored() error {
	j := &s.task.journal
	if len(j.commits) == 0 || j.last == s.applied {
		return nil
	}
	first := len(j.commits) - 1
	for first > 0 && j.commits[first-1].number > j.delivered {
		first--
	}
	position := s.appendPosition(nil, j.last, j.delivered)
	s.batch.Set([]byte("m"), appendPlace(position, j.commits[first].place64))
	if err := s.apply(); err != nil {
		return err
	}
	s.applied = j.last
	return nil
}

// diskCommit is what a commit brings to the database.
type diskCommit struct {
	marks    *marks
	batch    *disk.Batch
	position []byte
	info     commitInfo
}

// marks knows which commits the database cannot lose any more.
type marks struct {
	mu      sync.Mutex
	waiting []mark // oldest first
	durable uint64 // number of the newest one that is safe
}

// mark is a commit and when it has been applied.
type mark struct {
	number uint64
	epoch  disk.Epoch
}

func (m *marks) add(number uint64, epoch disk.Epoch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.waiting); n > 0 && m.waiting[n-1].epoch == epoch {
		m.waiting[n-1].number = number
		return
	}
	m.waiting = append(m.waiting, mark{number, epoch})
}

// reached returns the newest commit that is safe.
func (m *marks) reached(epoch disk.Epoch) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waiting) > 0 && m.waiting[0].epoch <= epoch {
		m.durable = m.waiting[0].number
		m.waiting = m.waiting[1:]
	}
	return m.durable
}

// keep returns the number of the commit from which on the journal is needed, whatever happens to the process: the newest one in files, by
// which the database is known again.
func (s *diskState) keep() uint64 { return s.marks.reached(s.space.Durable()) }

// commit takes the batch out, for Store.
func (s *diskState) commit(c commitInfo) *diskCommit {
	dc := &diskCommit{marks: &s.marks, batch: s.batch, position: s.appendPosition(nil, c.number, c.number), info: c}
	s.batch = s.space.NewBatch()
	return dc
}

// Store lets the database of the process have the commit, if the task has one. seq is where the journal holds it; its outbox has been
// delivered. It may be called in another goroutine than that of the task, which learns of it by Delivered.
func (c *Commit) Store(seq uint64) error {
	if c.disk == nil {
		return nil
	}
	c.disk.info.seq = seq
	setCommit(c.disk.batch, c.disk.info)
	c.disk.batch.Set([]byte("m"), appendPlace(c.disk.position, c.disk.info.place64))
	epoch, err := c.disk.batch.Apply()
	if err != nil {
		return fmt.Errorf("store commit %d: %w", c.Number, err)
	}
	c.disk.marks.add(c.Number, epoch)
	return nil
}
