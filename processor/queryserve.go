package processor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rossby-streams/rossby/stream"
)

const (
	// queryVersion is that of the format of questions and answers.
	queryVersion = "1.0.0"
	// deskQuestions is how many questions wait for a task at most.
	deskQuestions = 256
	// deskRows is about how many rows are read between two commits.
	deskRows = 4096
)

// openDesks makes this instance answer queries, if it is to.
func (a *App) openDesks() (err error) {
	if !a.cfg.Queries {
		return nil
	}
	a.service, err = a.client.OpenService(stream.ServiceConfig{
		Name: a.topology.app + "-queries", Version: queryVersion,
		Description: "state of the Rossby app " + a.topology.app,
		Metadata:    map[string]string{"app": a.topology.app, "instance": a.instance()},
	})
	if err != nil {
		return err
	}
	if err := a.openGlobalDesks(); err != nil {
		a.service.Close()
		return err
	}
	return nil
}

// openGlobalDesks makes this instance answer for global tables, of which it has all rows.
func (a *App) openGlobalDesks() error {
	if a.service == nil {
		return nil
	}
	for topic, rows := range a.globals {
		v := rows.(interface{ exposed() *view }).exposed()
		store := globalStore(topic)
		_, err := a.service.Add(stream.EndpointConfig{
			Name:     strings.ReplaceAll(store, ".", "_") + "_" + roleGlobal,
			Subject:  querySubject(a.topology.app, store, 0, false, "*"),
			Queue:    roleGlobal,
			Metadata: map[string]string{"role": roleGlobal, "store": store, "kind": v.kind, "verbs": v.verbs()},
			Handle: func(request *stream.ServiceRequest) {
				q, err := v.understand(request)
				var data []byte
				if err == nil {
					answer := answerJSON{Store: store, Role: roleGlobal, Instance: a.instance(), Positions: []positionJSON{}}
					data, _, err = a.fill(answer, &asked{view: v, question: q}, func() bool { return false })
				}
				if err != nil {
					refuse(request, err)
					return
				}
				request.Answer(data)
			},
		})
		if err != nil {
			return fmt.Errorf("answer queries: %w", err)
		}
	}
	return nil
}

// globalStore is the name of a global table among the stores.
func globalStore(topic string) string { return topic + "." + globalRowsName }

// globalRowsName is the Store of a global table.
const globalRowsName = "rows"

func (a *App) closeDesks() {
	if a.service != nil {
		a.service.Close()
	}
}

// instance is the name of this instance in answers.
func (a *App) instance() string {
	if a.cfg.Instance != "" {
		return a.cfg.Instance
	}
	return a.owner
}

// desk is where a task is asked for its state. What an owner answers is committed, and was its own after it was asked: a question is
// answered from the state that a commit has just taken, and told when that commit is in the journal. Where there is nothing to
// commit, the journal is asked whose it is. A standby answers from what it has read of the journal.
//
// A nil desk is one that nobody can ask.
type desk struct {
	r         *runner
	endpoints []*stream.Endpoint
	questions chan asked

	leaving   atomic.Bool // the task has no time for questions any more
	following sync.Mutex  // guards the task while it follows, and the rest
	age       freshness
}

// freshness is how old the state of a copy is.
type freshness struct {
	complete  time.Time // when it was known to have all that there was
	committed time.Time // when its last commit was stored, by the server's clock
	behind    uint64    // messages that the journal had behind that one
}

// applied notes that a copy has an entry of the journal.
func (d *desk) applied(e stream.Entry) {
	if d == nil {
		return
	}
	d.following.Lock()
	defer d.following.Unlock()
	d.age.committed, d.age.behind = e.Stored, e.Pending
}

// current notes that a copy has all that there is.
func (d *desk) current() {
	if d == nil {
		return
	}
	d.following.Lock()
	defer d.following.Unlock()
	d.age.complete, d.age.behind = time.Now(), 0
}

// hurry makes an answer that takes long be given up.
func (d *desk) hurry() {
	if d != nil {
		d.leaving.Store(true)
	}
}

// asked is a question to a store.
type asked struct {
	request *stream.ServiceRequest
	store   string
	view    *view
	until   time.Time // when nobody waits for the answer any more; zero: unknown
	question
}

// isVain reports whether nobody waits for the answer any more.
func (q *asked) isVain() bool { return !q.until.IsZero() && time.Now().After(q.until) }

// told is an answer that is known, but not that it holds.
type told struct {
	request *stream.ServiceRequest
	answer  []byte
	err     error
}

func newDesk(r *runner) *desk {
	if r.app.service == nil {
		return nil
	}
	return &desk{r: r, questions: make(chan asked, deskQuestions)}
}

// open begins to take questions.
func (d *desk) open(standby bool) error {
	if d == nil {
		return nil
	}
	role, ask := roleOwner, d.ask
	if standby {
		role, ask = roleStandby, d.askStandby
	}
	partition := d.r.task.Partition()
	for store, exposed := range d.r.task.Exposed() {
		v := exposed.(*view)
		e, err := d.r.app.service.Add(stream.EndpointConfig{
			Name:     strings.ReplaceAll(store, ".", "_") + "_" + strconv.Itoa(partition) + "_" + role,
			Subject:  querySubject(d.r.app.topology.app, store, partition, standby, "*"),
			Queue:    role,
			Metadata: map[string]string{"task": d.r.task.ID(), "role": role, "store": store, "kind": v.kind, "verbs": v.verbs()},
			Handle: func(request *stream.ServiceRequest) {
				q, err := v.understand(request)
				if err != nil {
					refuse(request, err)
					return
				}
				one := asked{request: request, store: store, view: v, question: q}
				if q.wait > 0 {
					one.until = time.Now().Add(q.wait)
				}
				ask(one)
			},
		})
		if err != nil {
			return fmt.Errorf("answer queries: %w", err)
		}
		d.endpoints = append(d.endpoints, e)
	}
	return nil
}

// close takes no more questions, and sends away who waits.
func (d *desk) close() {
	if d == nil {
		return
	}
	for _, e := range d.endpoints {
		e.Close()
	}
	d.endpoints = nil
	for len(d.questions) > 0 {
		refuse((<-d.questions).request, errMoved)
	}
}

// refusal is an error for the asker.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return e.text }

var (
	errMoved   = &refusal{stream.ServiceUnavailable, "the task is on its way to another instance: ask again"}
	errTooLate = &refusal{stream.ServiceUnavailable, "the time that the asker gave has passed: ask again, with more"}
)

func refuse(request *stream.ServiceRequest, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{stream.ServiceFailed, err.Error()}
	}
	request.Refuse(r.code, r.text)
}

// understand reads a question to the store.
func (v *view) understand(request *stream.ServiceRequest) (question, error) {
	verb := request.Subject[strings.LastIndexByte(request.Subject, '.')+1:]
	if !slices.Contains(strings.Split(v.verbs(), ", "), verb) {
		return question{}, &refusal{stream.ServiceNoSuchVerb, fmt.Sprintf("this is a %s store: it can be asked for %s, not for %q", v.kind, v.verbs(), verb)}
	}
	q, err := decodeQuestion(verb, request.Data)
	if err != nil {
		return q, &refusal{stream.ServiceBadRequest, err.Error()}
	}
	return q, nil
}

// ask leaves a question for the task. It is called in the service's goroutine.
func (d *desk) ask(q asked) {
	select {
	case d.questions <- q:
		d.r.inbox.poke()
	default:
		refuse(q.request, &refusal{stream.ServiceUnavailable, fmt.Sprintf("%d questions wait for this task already: ask again later", deskQuestions)})
	}
}

// askStandby answers at once. It is called in the service's goroutine.
func (d *desk) askStandby(q asked) {
	d.following.Lock()
	var data []byte
	err := error(errTooLate)
	if !q.isVain() {
		data, _, err = d.answer(&q, roleStandby)
	}
	d.following.Unlock()
	if err != nil {
		refuse(q.request, err)
		return
	}
	q.request.Answer(data)
}

// applying guards the task while it is changed and may be asked by others than its own goroutine.
func (d *desk) applying(change func() error) error {
	if d == nil {
		return change()
	}
	d.following.Lock()
	defer d.following.Unlock()
	return change()
}

// isAsked reports whether somebody waits to be heard.
func (d *desk) isAsked() bool { return d != nil && len(d.questions) > 0 }

// read answers questions from the task's state, which has just been put into a commit.
func (d *desk) read() (answers []told) {
	if d == nil {
		return nil
	}
	for rows := 0; rows < deskRows && len(d.questions) > 0; rows++ {
		q := <-d.questions
		if q.isVain() {
			refuse(q.request, errTooLate)
			continue
		}
		data, n, err := d.answer(&q, roleOwner)
		answers = append(answers, told{q.request, data, err})
		rows += n
	}
	return answers
}

// tell sends answers, since what they say is in the journal; or not, since it is not.
func tell(answers []told, err error) {
	for _, t := range answers {
		switch {
		case err != nil:
			refuse(t.request, errMoved)
		case t.err != nil:
			refuse(t.request, t.err)
		default:
			t.request.Answer(t.answer)
		}
	}
}

// answer looks a question up; it returns how many rows there are in the answer.
func (d *desk) answer(q *asked, role string) (data []byte, rows int, err error) {
	task := d.r.task
	a := answerJSON{
		Store: q.store, Partition: task.Partition(), Role: role, Instance: d.r.app.instance(), Commit: task.LastCommit(),
		StreamTime: streamTimeOf(task), Positions: []positionJSON{},
	}
	if role == roleStandby {
		a.Age, a.Committed, a.Behind = time.Since(d.age.complete).Seconds(), d.age.committed, d.age.behind
	}
	for _, p := range task.Positions() {
		a.Positions = append(a.Positions, positionJSON{p.Topic, p.Next})
	}
	return d.r.app.fill(a, q, d.leaving.Load)
}

// fill looks a question up and completes the answer. It gives up when the task is leaving.
func (a *App) fill(answer answerJSON, q *asked, leaving func() bool) (data []byte, rows int, err error) {
	page := page{limit: q.limit, max: int(a.client.MaxPayload()) - queryRoom, wanted: func() error {
		switch {
		case leaving():
			return errMoved
		case q.isVain():
			return errTooLate
		}
		return nil
	}}
	if answer.More, err = q.view.look(&q.question, &page); err != nil {
		return nil, 0, err
	}
	answer.Rows = append([]jsontext.Value{}, page.rows...)
	data, err = json.Marshal(answer, jsontext.AllowInvalidUTF8(true))
	return data, len(page.rows), err
}

// page is the rows of one answer.
type page struct {
	limit int
	max   int // bytes that the server takes
	rows  []jsontext.Value
	bytes int

	wanted func() error // an error: nobody wants the answer any more
	looked int
}

// lookEvery is after how many keys it is asked whether the answer is still wanted.
const lookEvery = 1024

// look counts a key that was looked at.
func (p *page) look() error {
	if p.looked++; p.looked%lookEvery == 0 {
		return p.wanted()
	}
	return nil
}

// add appends a row; it reports false if there is no room for it in this page.
func (p *page) add(key string, row seen) (bool, error) {
	if len(p.rows) == p.limit {
		return false, nil
	}
	data, err := encodeRow(key, row)
	if err != nil {
		return false, err
	}
	if len(data) > p.max {
		return false, &refusal{stream.ServiceTooLarge, fmt.Sprintf("the row of key %q has %d bytes, an answer has at most %d: raise the server's max_payload", key, len(data), p.max)}
	}
	if len(p.rows) > 0 && p.bytes+len(data) > min(p.max, queryBytes) {
		return false, nil
	}
	p.rows, p.bytes = append(p.rows, data), p.bytes+len(data)+1
	return true, nil
}
