package registry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rossby-streams/rossby/schemas"
)

// Config says where schemas are kept. The zero value is one copy in the bucket "schemas".
type Config struct {
	// Bucket is the name of the KV bucket. Empty: "schemas".
	Bucket string
	// Replicas is the number of copies: 1, 3 or 5. 0: 1 for a new bucket, whatever an old one has.
	Replicas int
	// Memory keeps a new bucket in the server's memory, for tests.
	Memory bool
	// Compatibility is that of new subjects. Empty: Backward.
	Compatibility Compatibility
	// Fetch gets what a $ref leads to, each time that a version is compiled; see schemas.Sources. What it gives must not change: no
	// compatibility is checked for it. nil: schemas refer to themselves only.
	Fetch func(address string) ([]byte, error)
}

// Registry keeps schemas. It is safe for use by several goroutines and needs no Close.
type Registry struct {
	store  store
	mode   Compatibility
	source schemas.Sources
}

// Version is a registered schema.
type Version struct {
	Subject string
	// Number is 1, 2, 3 and so on.
	Number int
	// Text is the schema.
	Text []byte
	// Registered is when, by the clock of who registered it.
	Registered time.Time
	// Deleted versions are not compared with new ones and are nobody's latest.
	Deleted bool
}

const maxName = 200

var names = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

func checkName(name string) error {
	if len(name) > maxName || !names.MatchString(name) {
		return &NameError{Name: name}
	}
	return nil
}

// Open gives the registry in a bucket, which it makes where there is none. The error is a *BucketError where the bucket is not as
// configured.
func Open(ctx context.Context, js jetstream.JetStream, cfg Config) (*Registry, error) {
	if cfg.Compatibility == "" {
		cfg.Compatibility = Backward
	}
	if err := cfg.Compatibility.check(); err != nil {
		return nil, err
	}
	if cfg.Bucket == "" {
		cfg.Bucket = "schemas"
	}
	kv, err := openBucket(ctx, js, cfg)
	if err != nil {
		return nil, err
	}
	return &Registry{store: store{kv}, mode: cfg.Compatibility, source: schemas.Sources{Fetch: cfg.Fetch}}, nil
}

// Register makes text the next version of a subject. A text that a version has already, but for white space, gives that version. The
// error is a *schemas.SchemaError where the text is no usable schema, and an *IncompatibleError where it does not get on with the versions
// there are. After an error of the connection it may be called again.
func (r *Registry) Register(ctx context.Context, subject string, text []byte) (Version, error) {
	schema, compact, err := r.parse(subject, text)
	if err != nil {
		return Version{}, err
	}
	id, stored := textID(compact), false
	var given entry
	err = r.store.change(ctx, subject, func(s *subjectState) (bool, error) {
		if i := slices.IndexFunc(s.Versions, func(e entry) bool { return e.Text == id && !e.Deleted }); i >= 0 {
			given = s.Versions[i]
			return false, nil
		}
		if s.Compatibility == "" {
			s.Compatibility = r.mode
		}
		if err := r.compatible(ctx, *s, subject, schema); err != nil {
			return false, err
		}
		if !stored {
			if err := r.store.putText(ctx, id, compact); err != nil {
				return false, err
			}
			stored = true
		}
		given = entry{Number: len(s.Versions) + 1, Text: id, Registered: time.Now().UTC()}
		s.Versions = append(s.Versions, given)
		return true, nil
	})
	if err != nil {
		return Version{}, err
	}
	return given.version(subject, compact), nil
}

// Check says whether Register would take the text, and registers nothing.
func (r *Registry) Check(ctx context.Context, subject string, text []byte) error {
	schema, _, err := r.parse(subject, text)
	if err != nil {
		return err
	}
	s, _, err := r.store.subject(ctx, subject)
	if err != nil {
		return err
	}
	if s.Compatibility == "" {
		s.Compatibility = r.mode
	}
	return r.compatible(ctx, s, subject, schema)
}

func (r *Registry) parse(subject string, text []byte) (*schemas.Schema, []byte, error) {
	if err := checkName(subject); err != nil {
		return nil, nil, err
	}
	schema, err := r.source.Parse(subject+".json", text)
	if err != nil {
		return nil, nil, fmt.Errorf("registry: %w", err)
	}
	compact := jsontext.Value(slices.Clone(text))
	if err := compact.Compact(); err != nil {
		return nil, nil, fmt.Errorf("registry: %w", err)
	}
	return schema, compact, nil
}

func (r *Registry) compatible(ctx context.Context, s subjectState, subject string, schema *schemas.Schema) error {
	e := &IncompatibleError{Subject: subject, Compatibility: s.Compatibility}
	for _, older := range slices.Backward(s.Versions) {
		if older.Deleted || s.Compatibility == None {
			continue
		}
		old, err := r.schema(ctx, subject, older)
		if err != nil {
			return err
		}
		conflicts, err := s.Compatibility.conflicts(schema, old, older.Number)
		if err != nil {
			return fmt.Errorf("registry: compare with version %d of subject %q: %w", older.Number, subject, err)
		}
		e.Conflicts = append(e.Conflicts, conflicts...)
		if !s.Compatibility.transitive() {
			break
		}
	}
	if len(e.Conflicts) > 0 {
		return e
	}
	return nil
}

// schema compiles a version.
func (r *Registry) schema(ctx context.Context, subject string, e entry) (*schemas.Schema, error) {
	text, err := r.store.text(ctx, e.Text)
	if err != nil {
		return nil, err
	}
	s, err := r.source.Parse(fmt.Sprintf("%s-%d.json", subject, e.Number), text)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return s, nil
}

// Subjects lists the subjects, in order of their names.
func (r *Registry) Subjects(ctx context.Context) ([]string, error) {
	return r.store.list(ctx, subjectPrefix)
}

// Versions lists the versions of a subject, deleted ones too, without their texts. The error is a *NotFoundError where there are none.
func (r *Registry) Versions(ctx context.Context, subject string) ([]Version, error) {
	s, err := r.state(ctx, subject)
	if err != nil {
		return nil, err
	}
	all := make([]Version, len(s.Versions))
	for i, e := range s.Versions {
		all[i] = e.version(subject, nil)
	}
	return all, nil
}

func (r *Registry) state(ctx context.Context, subject string) (subjectState, error) {
	if err := checkName(subject); err != nil {
		return subjectState{}, err
	}
	s, _, err := r.store.subject(ctx, subject)
	if err == nil && len(s.Versions) == 0 {
		err = &NotFoundError{Subject: subject}
	}
	return s, err
}

// Get gives a version by its number, also a deleted one; 0 is the latest. The error is a *NotFoundError where there is no such version.
func (r *Registry) Get(ctx context.Context, subject string, number int) (Version, error) {
	s, err := r.state(ctx, subject)
	if err != nil {
		return Version{}, err
	}
	e, ok := s.find(number)
	if !ok {
		return Version{}, &NotFoundError{Subject: subject, Version: number}
	}
	text, err := r.store.text(ctx, e.Text)
	return e.version(subject, text), err
}

// Latest gives the version with the highest number that is not deleted.
func (r *Registry) Latest(ctx context.Context, subject string) (Version, error) {
	return r.Get(ctx, subject, 0)
}

// Delete marks a version as deleted: Latest passes over it, and new versions need not get on with it. Its text and number stay. The
// last version of a subject to which topics are tied cannot go: *InUseError.
func (r *Registry) Delete(ctx context.Context, subject string, number int) error {
	return r.mark(ctx, subject, number, true)
}

// Restore takes back a deletion. The version must get on with the others, in the way that the compatibility asks of a new one, or the
// error is an *IncompatibleError.
func (r *Registry) Restore(ctx context.Context, subject string, number int) error {
	return r.mark(ctx, subject, number, false)
}

func (r *Registry) mark(ctx context.Context, subject string, number int, deleted bool) error {
	if err := checkName(subject); err != nil {
		return err
	}
	return r.store.change(ctx, subject, func(s *subjectState) (bool, error) {
		e, ok := s.find(number)
		if !ok || number == 0 {
			return false, &NotFoundError{Subject: subject, Version: number}
		}
		if e.Deleted == deleted {
			return false, nil
		}
		s.Versions[number-1].Deleted = deleted
		if !deleted {
			return true, r.fits(ctx, *s, subject, number)
		}
		if _, left := s.find(0); left {
			return true, nil
		}
		topics, err := r.topicsOf(ctx, subject)
		if err == nil && len(topics) > 0 {
			err = &InUseError{Subject: subject, Version: number, Topics: topics}
		}
		return true, err
	})
}

// fits compares a version with those before it, and those after it with it.
func (r *Registry) fits(ctx context.Context, s subjectState, subject string, number int) error {
	for i := number - 1; i < len(s.Versions); i++ {
		if s.Versions[i].Deleted {
			continue
		}
		schema, err := r.schema(ctx, subject, s.Versions[i])
		if err != nil {
			return err
		}
		before := s
		before.Versions = s.Versions[:i]
		if err := r.compatible(ctx, before, subject, schema); err != nil {
			return err
		}
	}
	return nil
}

// SetCompatibility changes what is asked of a subject's next versions; those that there are may be as they are. The subject need not
// have versions yet.
func (r *Registry) SetCompatibility(ctx context.Context, subject string, c Compatibility) error {
	if err := errors.Join(c.check(), checkName(subject)); err != nil {
		return err
	}
	return r.store.change(ctx, subject, func(s *subjectState) (bool, error) {
		changed := s.Compatibility != c
		s.Compatibility = c
		return changed, nil
	})
}

// Compatibility gives what is asked of a subject's next version.
func (r *Registry) Compatibility(ctx context.Context, subject string) (Compatibility, error) {
	if err := checkName(subject); err != nil {
		return "", err
	}
	s, _, err := r.store.subject(ctx, subject)
	if err == nil && s.Compatibility == "" {
		return r.mode, nil
	}
	return s.Compatibility, err
}

// Tie says that the values of a topic are documents of a subject, which must have a version. A topic has one subject; tying it again
// replaces it. Who ties a topic while somebody else deletes the subject's last version may be left with a topic that has no codec.
func (r *Registry) Tie(ctx context.Context, topic, subject string) error {
	if err := checkName(topic); err != nil {
		return err
	}
	s, err := r.state(ctx, subject)
	if err != nil {
		return err
	}
	if _, ok := s.find(0); !ok {
		return &NotFoundError{Subject: subject}
	}
	return r.store.tie(ctx, topic, subject)
}

// SubjectOf gives the subject that a topic is tied to. The error is a *NotFoundError where there is none.
func (r *Registry) SubjectOf(ctx context.Context, topic string) (string, error) {
	if err := checkName(topic); err != nil {
		return "", err
	}
	return r.store.tied(ctx, topic)
}

func (r *Registry) topicsOf(ctx context.Context, subject string) ([]string, error) {
	all, err := r.store.list(ctx, topicPrefix)
	if err != nil {
		return nil, err
	}
	var topics []string
	for _, topic := range all {
		tied, err := r.store.tied(ctx, topic)
		if err != nil {
			return nil, err
		}
		if tied == subject {
			topics = append(topics, topic)
		}
	}
	slices.SortFunc(topics, strings.Compare)
	return topics, nil
}
