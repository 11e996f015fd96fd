package engine

import (
	"errors"
	"fmt"
	"maps"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/stream"
)

// machine is a task with one store of each kind, next to a model of them made of plain maps, and a journal in memory.
type machine struct {
	task    *Task
	kv      *KeyValue[string]
	exp     *KeyValue[string]
	win     RowStore[string]
	timers  *Timers
	walls   *Timers
	fired   *[]string
	journal map[uint64][]byte
	seq     uint64
	first   uint64
	shadow  *machine // keeps a copy of the task warm; its seq is how far it has come

	model model
	saved model // the model at the last commit

	folder  *folder // nil: all in memory
	onDisk  onDisk  // which stores, if there is a folder
	collide bool    // hashes of keys are equal
	most    int     // how many rows may be hot
	paging  paging
}

// onDisk says which stores of a machine are on disk.
type onDisk struct{ kv, exp, win bool }

type model struct {
	now    int64
	kv     map[string]string
	exp    map[string]modelRow // key, when it was put, value
	rows   []modelRow
	timers map[timerID]bool
	walls  map[timerID]bool
}

type modelRow struct {
	key   string
	at    int64
	value string
}

func (m model) clone() model {
	c := model{now: m.now, kv: map[string]string{}, exp: maps.Clone(m.exp), timers: map[timerID]bool{}, walls: map[timerID]bool{}}
	for k, v := range m.kv {
		c.kv[k] = v
	}
	c.rows = append(c.rows, m.rows...)
	for k := range m.timers {
		c.timers[k] = true
	}
	for k := range m.walls {
		c.walls[k] = true
	}
	return c
}

type timerID struct {
	key string
	at  int64
}

const retention = 50

func newMachine() *machine {
	m := &machine{journal: map[uint64][]byte{}, first: 1, most: hotCount, paging: usualPaging}
	m.model = model{now: NoTime, kv: map[string]string{}, exp: map[string]modelRow{}, timers: map[timerID]bool{}, walls: map[timerID]bool{}}
	m.saved = m.model.clone()
	m.make()
	m.shadow = m.another(nil)
	return m
}

func (m *machine) make() {
	fired := new([]string)
	m.fired = fired
	plan := &Plan{App: "app", Name: "sub", Wire: func(t *Task) {
		keyValue, expiring, codec := NewKeyValue[string], NewExpiring[string], stream.JSON[string]()
		if m.onDisk.kv {
			keyValue = NewOnDisk[string]
		}
		if m.onDisk.exp {
			expiring = NewExpiringOnDisk[string]
		}
		m.kv, m.exp = keyValue(t, "op.kv", codec), expiring(t, "op.exp", retention, codec)
		if m.onDisk.win {
			m.win = NewDiskWindow(t, "op.win", retention, codec)
		} else {
			m.win = NewWindow(t, "op.win", retention, codec)
		}
		m.timers = NewTimers(t, "op.timers", func(key string, at int64) {
			*fired = append(*fired, fmt.Sprintf("%s@%d", key, at))
		})
		m.walls = NewWallTimers(t, "op.walls", func(key string, at int64) {
			*fired = append(*fired, fmt.Sprintf("%s@%d", key, at))
		})
	}}
	m.task = NewTask(plan, 0, 1<<20)
	m.kv.most, m.exp.most = m.most, m.most
	for _, store := range []*KeyValue[string]{m.kv, m.exp} {
		if b, inMemory := store.base.(*memoryBase); inMemory {
			b.slack = 0
			if m.collide {
				b.index.mask = 0
			}
		}
	}
	m.timers.rows.slack, m.walls.rows.slack = 0, 0
	if m.collide {
		m.timers.index.mask, m.walls.index.mask = 1, 0
	}
	switch win := m.win.(type) {
	case *Window[string]:
		win.hot.most, win.rows.slack = m.most, 0
		if m.collide {
			win.index.mask = 0
		}
	case *DiskWindow[string]:
		win.paging = m.paging
	}
}

// inMemory returns the window store that is in memory.
func (m *machine) inMemory() *Window[string] { return m.win.(*Window[string]) } //nolint:forcetypeassert // the test has made it so

// another returns a machine of the same kind.
func (m *machine) another(f *folder) *machine {
	return &machine{folder: f, collide: m.collide, most: m.most, onDisk: m.onDisk, paging: m.paging}
}

func (m *machine) commit(t require.TestingT) {
	c, err := m.task.Commit("owner", true)
	require.NoError(t, err)
	m.seq++
	m.journal[m.seq] = c.Data
	m.task.Appended(c.Number, m.seq)
	require.NoError(t, c.Store(m.seq))
	m.task.Delivered(c.Number)
	if before, ok := m.task.Trim(); ok {
		for ; m.first < before; m.first++ {
			delete(m.journal, m.first)
		}
	}
	m.saved = m.model.clone()
	m.follow(t)
}

func (m *machine) crash(t require.TestingT) {
	m.make()
	for seq := m.first + m.folder.open(t, m); seq <= m.seq; seq++ {
		err := m.task.Restore(seq, m.journal[seq])
		if errors.Is(err, ErrOtherJournal) {
			require.NoError(t, m.task.DropDisk())
			seq = m.first - 1
			continue
		}
		require.NoError(t, err)
	}
	require.True(t, m.task.Confirmed())
	_, err := m.task.Restored()
	require.NoError(t, err)
	m.model = m.saved.clone()
}

// follow lets the copy have what is in the journal. A copy that is new, or has been left behind, begins anew.
func (m *machine) follow(t require.TestingT) {
	s := m.shadow
	if s.task == nil || s.seq+1 < m.first {
		s.make()
		s.first = m.first
		s.seq = m.first - 1 + s.folder.open(t, s)
	}
	for s.seq < m.seq || !s.task.Confirmed() {
		var err error
		if s.seq < m.seq {
			err = s.task.Follow(s.seq+1, m.journal[s.seq+1])
		} else {
			err = ErrOtherJournal
		}
		if errors.Is(err, ErrOtherJournal) {
			require.NoError(t, s.task.DropDisk())
			s.seq = m.first - 1
			continue
		}
		require.NoError(t, err)
		s.seq++
	}
	s.task.JournalBegins(m.first)
}

// takeOver lets the copy go on. The owner that was keeps the next one, with what is on its disk.
func (m *machine) takeOver(t require.TestingT) {
	m.follow(t)
	warm := m.shadow
	_, err := warm.task.Restored()
	require.NoError(t, err)
	m.task, m.kv, m.exp, m.win, m.timers, m.walls, m.fired = warm.task, warm.kv, warm.exp, warm.win, warm.timers, warm.walls, warm.fired
	m.model = m.saved.clone()
	m.shadow = m.another(m.folder)
	m.folder = warm.folder
	m.follow(t)
}

// fenceInVain has the copy try to take over while the owner commits once more: it begins anew, with what is on its disk.
func (m *machine) fenceInVain(t require.TestingT) {
	m.follow(t)
	_, err := m.shadow.task.Restored()
	require.NoError(t, err)
	_, err = m.shadow.task.Commit("copy", true)
	require.NoError(t, err)
	m.shadow.task = nil
	m.commit(t)
}

func (m *machine) advance(t require.TestingT, now int64) {
	*m.fired = nil
	require.NoError(t, m.task.Advance(now))
	if now <= m.model.now {
		require.Empty(t, *m.fired)
		return
	}
	m.model.now = now
	require.Equal(t, due(m.model.timers, now), *m.fired)
}

// advanceWall moves the clock.
func (m *machine) advanceWall(t require.TestingT, now int64) {
	*m.fired = nil
	fired, err := m.task.AdvanceWall(now)
	require.NoError(t, err)
	want := due(m.model.walls, now)
	require.Equal(t, want, *m.fired)
	require.Equal(t, len(want) > 0, fired)
}

// due takes the timers that are due at now out of set and says what they are.
func due(set map[timerID]bool, now int64) []string {
	var due []timerID
	for id := range set {
		if id.at <= now {
			due = append(due, id)
			delete(set, id)
		}
	}
	sort.Slice(due, func(i, j int) bool {
		return due[i].at < due[j].at || due[i].at == due[j].at && due[i].key < due[j].key
	})
	var want []string
	for _, id := range due {
		want = append(want, fmt.Sprintf("%s@%d", id.key, id.at))
	}
	return want
}

// fail does some work as a record would that fails in the end: none of it may be seen, now or later.
func (m *machine) fail(t *rapid.T) {
	mark := m.task.Mark()
	key, when := rapid.SampledFrom(keys), rapid.Int64Range(0, 200)
	for range rapid.IntRange(1, 8).Draw(t, "changes") {
		k, at := key.Draw(t, "key"), when.Draw(t, "at")
		switch rapid.IntRange(0, 10).Draw(t, "change") {
		case 0:
			m.kv.Put(k, "failed")
		case 1:
			m.kv.Delete(k)
		case 2:
			m.win.Add(k, at, "failed")
		case 3:
			for id := range m.win.Range(k, 0, at) {
				m.win.Set(id, "failed")
			}
		case 4:
			for id := range m.win.Range(k, 0, at) {
				m.win.Remove(id)
				break
			}
		case 5:
			m.timers.Set(k, at)
		case 6:
			m.timers.Cancel(k, at)
		case 7:
			m.walls.Set(k, at)
		case 8:
			m.walls.Cancel(k, at)
		case 9:
			m.exp.Put(k, "failed")
		case 10:
			m.exp.Delete(k)
		}
	}
	m.task.Rollback(mark)
}

func (m *machine) check(t require.TestingT) {
	m.checkStores(t)
	require.Equal(t, len(m.model.timers), m.timers.Len())
	require.Equal(t, len(m.model.walls), m.walls.Len())
}

// checkStores compares what can be asked of an owner and of a copy with the model.
func (m *machine) checkStores(t require.TestingT) {
	require.Equal(t, m.model.now, m.task.StreamTime())
	got := map[string]string{}
	for k, v := range m.kv.All() {
		got[k] = v
	}
	require.Equal(t, m.model.kv, got)
	require.Equal(t, len(m.model.kv), m.kv.Len())
	for k, r := range m.model.exp {
		if m.model.now != NoTime && r.at < m.model.now-retention {
			delete(m.model.exp, k)
		}
	}
	got = map[string]string{}
	for k, v := range m.exp.All() {
		got[k] = v
	}
	require.Len(t, got, len(m.model.exp))
	for _, k := range keys {
		v, ok := m.exp.Get(k)
		r, has := m.model.exp[k]
		require.Equal(t, has, ok, "key %q", k)
		require.Equal(t, r.value, v)
		require.Equal(t, r.value, got[k])
	}
	require.LessOrEqual(t, m.exp.Len(), len(keys))
	require.GreaterOrEqual(t, m.exp.Len(), len(m.model.exp))
	kept := 0 // what is still there is a matter of rows and stream time, not of crashes
	for _, r := range m.model.rows {
		if slice := int64(retention / 16); m.model.now == NoTime || r.at/slice >= floorDiv(m.model.now-retention, slice) {
			kept++
		}
	}
	require.Equal(t, kept, m.win.Len())
	met := map[string]bool{}
	for key := range m.win.Keys() {
		met[key] = true
	}
	for _, r := range m.model.rows {
		require.True(t, met[r.key] || m.model.now != NoTime && r.at < m.model.now-retention, "key %q", r.key)
	}
	for _, key := range keys {
		for _, span := range [][2]int64{{0, 1000}, {20, 60}, {37, 37}} {
			var want, rows []string
			for _, r := range m.model.rows {
				kept := m.model.now == NoTime || r.at >= m.model.now-retention
				if r.key == key && r.at >= span[0] && r.at <= span[1] && kept {
					want = append(want, fmt.Sprintf("%d %s", r.at, r.value))
				}
			}
			for id, v := range m.win.Range(key, span[0], span[1]) {
				rows = append(rows, fmt.Sprintf("%d %s", id.At, v))
			}
			require.Equal(t, want, rows)
			values := m.win.Rows(key, span[0], span[1])
			require.Len(t, values, len(want))
			for i, v := range values {
				require.Contains(t, want[i], v)
			}
			require.Equal(t, len(want), m.win.Count(key, span[0], span[1]))
			last, ok := m.win.Last(key, span[0], span[1])
			require.Equal(t, len(want) > 0, ok)
			if ok {
				require.Contains(t, want[len(want)-1], last)
			}
		}
	}
}

var keys = []string{"a", "b", "", "c.d"}

// TestStateSurvivesAnything runs random work on stores and timers, commits and crashes at random, and compares with a model
// after every step. The journal is trimmed as the engine says, so that a row trimmed too early would be missed.
func TestStateSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		m.collide = rapid.Bool().Draw(t, "keys collide")
		m.most = rapid.SampledFrom([]int{0, 1, hotCount}).Draw(t, "hot rows")
		m.make()
		m.shadow = m.another(nil)
		survive(t, m, nil)
	})
}

// survive does anything, and more, to a machine.
func survive(t *rapid.T, m *machine, more map[string]func(*rapid.T)) {
	key := rapid.SampledFrom(keys)
	value := rapid.StringMatching(`[a-z]{0,3}`)
	when := rapid.Int64Range(0, 200)
	n := 0
	actions := map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			k, v := key.Draw(t, "key"), value.Draw(t, "value")
			m.kv.Put(k, v)
			m.model.kv[k] = v
		},
		"delete": func(t *rapid.T) {
			k := key.Draw(t, "key")
			m.kv.Delete(k)
			delete(m.model.kv, k)
		},
		"put what expires": func(t *rapid.T) {
			k, v := key.Draw(t, "key"), value.Draw(t, "value")
			m.exp.Put(k, v)
			m.model.exp[k] = modelRow{k, m.model.now, v}
		},
		"delete what expires": func(t *rapid.T) {
			k := key.Draw(t, "key")
			m.exp.Delete(k)
			delete(m.model.exp, k)
		},
		"add": func(t *rapid.T) {
			n++
			k, at, v := key.Draw(t, "key"), when.Draw(t, "at"), fmt.Sprintf("v%d", n)
			kept := m.model.now == NoTime || at >= m.model.now-retention
			require.Equal(t, kept, m.win.Add(k, at, v))
			if kept {
				m.model.add(modelRow{k, at, v})
			}
		},
		"remove or set": func(t *rapid.T) {
			k, set := key.Draw(t, "key"), rapid.Bool().Draw(t, "set")
			for id, v := range m.win.Range(k, 0, 1000) {
				i := m.model.find(modelRow{id.Key, id.At, v})
				if set {
					n++
					m.model.rows[i].value = fmt.Sprintf("v%d", n)
					require.True(t, m.win.Set(id, m.model.rows[i].value))
				} else {
					m.model.rows = append(m.model.rows[:i:i], m.model.rows[i+1:]...)
					m.win.Remove(id)
				}
				break
			}
		},
		"timer": func(t *rapid.T) {
			k, at := key.Draw(t, "key"), when.Draw(t, "at")
			if m.model.now != NoTime && at <= m.model.now {
				return
			}
			m.timers.Set(k, at)
			m.model.timers[timerID{k, at}] = true
		},
		"cancel": func(t *rapid.T) {
			k, at := key.Draw(t, "key"), when.Draw(t, "at")
			m.timers.Cancel(k, at)
			delete(m.model.timers, timerID{k, at})
		},
		"wall timer": func(t *rapid.T) {
			k, at := key.Draw(t, "key"), when.Draw(t, "at")
			m.walls.Set(k, at)
			m.model.walls[timerID{k, at}] = true
		},
		"wall cancel": func(t *rapid.T) {
			k, at := key.Draw(t, "key"), when.Draw(t, "at")
			m.walls.Cancel(k, at)
			delete(m.model.walls, timerID{k, at})
		},
		"wall":          func(t *rapid.T) { m.advanceWall(t, when.Draw(t, "clock")) },
		"fail":          m.fail,
		"advance":       func(t *rapid.T) { m.advance(t, max(m.model.now, 10)+rapid.Int64Range(-5, 30).Draw(t, "by")) },
		"commit":        func(t *rapid.T) { m.commit(t) },
		"crash":         func(t *rapid.T) { m.crash(t) },
		"copy":          func(t *rapid.T) { m.takeOver(t) },
		"fence in vain": func(t *rapid.T) { m.fenceInVain(t) },
		"":              func(t *rapid.T) { m.check(t) },
	}
	maps.Copy(actions, more)
	t.Repeat(actions)
}

func (m *model) add(r modelRow) {
	i := sort.Search(len(m.rows), func(i int) bool { return m.rows[i].at > r.at })
	m.rows = append(m.rows[:i:i], append([]modelRow{r}, m.rows[i:]...)...)
}

func (m *model) find(r modelRow) int {
	for i, other := range m.rows {
		if other == r {
			return i
		}
	}
	return -1
}

// TestJournalStaysSmall overwrites a small state many times: what the journal holds must follow the live state and not the
// number of commits, and must still restore it.
func TestJournalStaysSmall(t *testing.T) {
	m := newMachine()
	m.kv.Put("never changes", "old")
	m.model.kv["never changes"] = "old"
	m.timers.Set("later", 1_000_000)
	m.model.timers[timerID{"later", 1_000_000}] = true
	filler := string(make([]byte, 1000))
	for i := range 5000 {
		k := fmt.Sprintf("k%d", i%10)
		m.kv.Put(k, filler)
		m.model.kv[k] = filler
		m.commit(t)
	}
	bytes := 0
	for _, entry := range m.journal {
		bytes += len(entry)
	}
	require.Less(t, bytes, 400_000, "5 MB have gone through a state of 60 kB")
	m.crash(t)
	m.check(t)
}

func TestUndeliveredOutboxesSurviveTrimming(t *testing.T) {
	sink := stream.Topic[string]{Name: "out"}.Spec()
	plan := &Plan{App: "app", Name: "sub", Sinks: []Sink{{Topic: sink}}, Wire: func(*Task) {}}
	task := NewTask(plan, 3, 1<<20)
	var journal [][]byte
	for i := range 200 {
		require.NoError(t, task.Emit(&Emitted{Key: fmt.Sprint(i), Data: []byte("x")}))
		c, err := task.Commit("o", false)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("app/sub-3/%d/0", i+1), c.Outbox[0].ID)
		journal = append(journal, c.Data)
		task.Appended(c.Number, uint64(i+1))
		if i < 100 {
			task.Delivered(c.Number)
		}
	}
	before, ok := task.Trim()
	require.True(t, ok)
	require.EqualValues(t, 101, before)
	back := NewTask(plan, 3, 1<<20)
	for i := before; i <= 200; i++ {
		require.NoError(t, back.Restore(i, journal[i-1]))
	}
	undelivered, err := back.Restored()
	require.NoError(t, err)
	require.Len(t, undelivered, 100)
	for i, u := range undelivered {
		require.EqualValues(t, 101+i, u.Number)
		require.Equal(t, fmt.Sprint(100+i), u.Outbox[0].Key)
	}
	require.EqualValues(t, 200, back.LastCommit())
}

// TestExpiredValuesAreForgotten: memory follows what is alive, and a store that gets a time to live keeps what it has for so long.
func TestExpiredValuesAreForgotten(t *testing.T) {
	var store *KeyValue[string]
	journal := [][]byte{}
	open := func(ttl int64) *Task {
		task := NewTask(&Plan{App: "app", Name: "sub", Wire: func(t *Task) {
			store = NewExpiring(t, "op.exp", ttl, stream.JSON[string]())
		}}, 0, 1<<20)
		for i, data := range journal {
			require.NoError(t, task.Restore(uint64(i+1), data))
		}
		_, err := task.Restored()
		require.NoError(t, err)
		return task
	}
	commit := func(task *Task) {
		c, err := task.Commit("owner", true)
		require.NoError(t, err)
		journal = append(journal, c.Data)
		task.Appended(c.Number, uint64(len(journal)))
		task.Delivered(c.Number)
	}

	task := open(0)
	store.Put("old", "kept")
	require.NoError(t, task.Advance(1_000_000))
	commit(task)

	for range 2 { // the second start must not make them young again
		task = open(1000)
		v, ok := store.Get("old")
		require.True(t, ok)
		require.Equal(t, "kept", v)
		require.NoError(t, task.Advance(task.StreamTime()+400))
		commit(task)
	}
	task = open(1000)
	require.NoError(t, task.Advance(1_000_000+1001))
	_, ok := store.Get("old")
	require.False(t, ok)

	now := task.StreamTime()
	for i := range 100_000 {
		now++
		require.NoError(t, task.Advance(now))
		store.Put(fmt.Sprintf("k%d", i), "v")
		require.LessOrEqual(t, store.Len(), 1000+1000/16+2)
		if i%1000 == 999 {
			commit(task)
		}
	}
}
