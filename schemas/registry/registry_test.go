package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/schemas"
	"github.com/rossby-streams/rossby/schemas/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	one     = `{"type":"object","properties":{"host":{"type":"string"}},"required":["host"],"additionalProperties":false}`
	two     = `{"type":"object","properties":{"host":{"type":"string"},"load":{"type":"number"}},"required":["host"],"additionalProperties":false}`
	strict  = `{"type":"object","properties":{"host":{"type":"string"},"load":{"type":"number"}},"required":["host","load"],"additionalProperties":false}`
	another = `{"type":"string"}`
)

func jetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(embeddedtest.Connect(t))
	require.NoError(t, err)
	return js
}

func open(t testing.TB, js jetstream.JetStream, cfg registry.Config) *registry.Registry {
	t.Helper()
	cfg.Memory = true
	r, err := registry.Open(t.Context(), js, cfg)
	require.NoError(t, err)
	return r
}

func register(t testing.TB, r *registry.Registry, subject, text string) registry.Version {
	t.Helper()
	v, err := r.Register(t.Context(), subject, []byte(text))
	require.NoError(t, err)
	return v
}

func TestVersions(t *testing.T) {
	ctx := t.Context()
	js := jetStream(t)
	r := open(t, js, registry.Config{})
	subjects, err := r.Subjects(ctx)
	require.NoError(t, err)
	require.Empty(t, subjects)
	_, err = r.Latest(ctx, "metric")
	require.ErrorIs(t, err, registry.ErrNotFound)
	require.ErrorContains(t, err, `the subject "metric" has no version (call Register)`)

	require.Equal(t, 1, register(t, r, "metric", one).Number)
	require.Equal(t, 2, register(t, r, "metric", two).Number)
	require.Equal(t, 1, register(t, r, "metric", " "+one+"\n").Number, "the same text, but for white space")
	require.Equal(t, 1, register(t, r, "org.alarm", another).Number)

	r = open(t, js, registry.Config{}) // by another process
	subjects, err = r.Subjects(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"metric", "org.alarm"}, subjects)
	latest, err := r.Latest(ctx, "metric")
	require.NoError(t, err)
	require.Equal(t, 2, latest.Number)
	require.JSONEq(t, two, string(latest.Text))
	first, err := r.Get(ctx, "metric", 1)
	require.NoError(t, err)
	require.JSONEq(t, one, string(first.Text))
	_, err = r.Get(ctx, "metric", 3)
	require.ErrorContains(t, err, `the subject "metric" has no version 3 (Versions lists them)`)

	require.NoError(t, r.Delete(ctx, "metric", 2))
	require.NoError(t, r.Delete(ctx, "metric", 2))
	latest, err = r.Latest(ctx, "metric")
	require.NoError(t, err)
	require.Equal(t, 1, latest.Number)
	gone, err := r.Get(ctx, "metric", 2)
	require.NoError(t, err, "what is deleted stays readable")
	require.True(t, gone.Deleted)
	require.JSONEq(t, two, string(gone.Text))
	require.Equal(t, 3, register(t, r, "metric", two).Number, "numbers are not used again")
	all, err := r.Versions(ctx, "metric")
	require.NoError(t, err)
	require.Len(t, all, 3)
	require.True(t, all[1].Deleted)
	require.ErrorIs(t, r.Delete(ctx, "metric", 9), registry.ErrNotFound)
	require.ErrorIs(t, r.Delete(ctx, "metric", 0), registry.ErrNotFound)
}

// TestRacingWriters registers different texts of one subject from many goroutines with connections of their own: every text gets a
// version, and versions are consecutive.
func TestRacingWriters(t *testing.T) {
	server := embeddedtest.Start(t)
	const writers, each = 8, 5
	var mu sync.Mutex
	texts := map[int]string{}
	var wg sync.WaitGroup
	for w := range writers {
		js, err := jetstream.New(embeddedtest.ConnectTo(t, server))
		require.NoError(t, err)
		r := open(t, js, registry.Config{Compatibility: registry.None})
		wg.Go(func() {
			for i := range each {
				text := fmt.Sprintf(`{"title":"%d-%d"}`, w, i)
				v, err := r.Register(context.Background(), "s", []byte(text))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if had, taken := texts[v.Number]; taken {
					t.Errorf("version %d is %s and %s", v.Number, had, text)
				}
				texts[v.Number] = text
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	js, err := jetstream.New(embeddedtest.ConnectTo(t, server))
	require.NoError(t, err)
	r := open(t, js, registry.Config{})
	for n := 1; n <= writers*each; n++ {
		v, err := r.Get(t.Context(), "s", n)
		require.NoError(t, err)
		require.JSONEq(t, texts[n], string(v.Text))
	}
}

func TestCompatibility(t *testing.T) {
	ctx := t.Context()
	r := open(t, jetStream(t), registry.Config{})
	for _, c := range []struct {
		how   registry.Compatibility
		texts []string // the last one is tried
		why   string   // empty: it is taken
	}{
		{registry.None, []string{one, another}, ""},
		{registry.Backward, []string{one, two}, ""},
		{registry.Backward, []string{two, one}, "the new schema would refuse what version 1 allows: /load"},
		{registry.Backward, []string{two, strict}, "/load may be missing (required)"},
		{registry.Backward, []string{one, another}, "may be an object (type)"},
		{registry.Forward, []string{two, one}, ""},
		{registry.Forward, []string{two, strict}, ""},
		{registry.Forward, []string{one, two}, "version 1 would refuse what the new schema allows: /load"},
		{registry.Full, []string{one, one + " "}, ""},
		{registry.Full, []string{one, two}, "version 1 would refuse"},
		{registry.Full, []string{two, one}, "the new schema would refuse"},
		{registry.Full, []string{two, `{"title":"other words",` + two[1:]}, ""},
		{registry.Backward, []string{`{"type":"integer"}`, `{"type":"number"}`}, ""},
		{registry.Backward, []string{`{"pattern":"^ab"}`, `{"pattern":"^a"}`}, "cannot be decided"},
	} {
		subject := fmt.Sprintf("s-%s-%d", c.how, len(c.why)*100+len(c.texts[1]))
		require.NoError(t, r.SetCompatibility(ctx, subject, c.how))
		register(t, r, subject, c.texts[0])
		err := r.Check(ctx, subject, []byte(c.texts[1]))
		_, rerr := r.Register(ctx, subject, []byte(c.texts[1]))
		if c.why == "" {
			require.NoError(t, errors.Join(err, rerr), "%s: %v", c.how, c.texts)
			continue
		}
		var refused *registry.IncompatibleError
		require.ErrorAs(t, err, &refused)
		require.ErrorAs(t, rerr, &refused)
		require.ErrorContains(t, rerr, c.why)
		require.ErrorContains(t, rerr, string(c.how)+" compatible")
		require.NotContains(t, rerr.Error(), "\n")
		all, err := r.Versions(ctx, subject)
		require.NoError(t, err)
		require.Len(t, all, 1, "nothing was registered")
	}
}

// TestTransitive goes back to what the first version had: the last step alone is fine, the whole way is not.
func TestTransitive(t *testing.T) {
	ctx := t.Context()
	r := open(t, jetStream(t), registry.Config{Compatibility: registry.None})
	const number, text, both = `{"type":"number"}`, `{"type":"string"}`, `{"type":["number","string"]}`
	for how, conflicts := range map[registry.Compatibility][]int{
		registry.Forward: nil, registry.ForwardTransitive: {1}, registry.Full: {2}, registry.FullTransitive: {2, 1, 1}, registry.Backward: {2},
		registry.BackwardTransitive: {2, 1},
	} {
		subject := "s-" + string(how)
		register(t, r, subject, number)
		register(t, r, subject, both)
		require.NoError(t, r.SetCompatibility(ctx, subject, how))
		got, err := r.Compatibility(ctx, subject)
		require.NoError(t, err)
		require.Equal(t, how, got)
		_, err = r.Register(ctx, subject, []byte(text))
		if conflicts == nil {
			require.NoError(t, err)
			continue
		}
		var refused *registry.IncompatibleError
		require.ErrorAs(t, err, &refused)
		var versions []int
		for _, c := range refused.Conflicts {
			versions = append(versions, c.Version)
		}
		require.Equal(t, conflicts, versions, how)
	}
	// Deleted versions do not count, and come back only if they fit.
	require.NoError(t, r.Delete(ctx, "s-backward-transitive", 1))
	require.NoError(t, r.Delete(ctx, "s-backward-transitive", 2))
	register(t, r, "s-backward-transitive", text)
	var refused *registry.IncompatibleError
	require.ErrorAs(t, r.Restore(ctx, "s-backward-transitive", 1), &refused)
	require.ErrorAs(t, r.Restore(ctx, "s-backward-transitive", 2), &refused)
	require.NoError(t, r.SetCompatibility(ctx, "s-backward-transitive", registry.None))
	require.NoError(t, r.Restore(ctx, "s-backward-transitive", 2))
}

func TestTies(t *testing.T) {
	ctx := t.Context()
	r := open(t, jetStream(t), registry.Config{})
	_, err := r.SubjectOf(ctx, "metrics")
	require.ErrorContains(t, err, `the topic "metrics" is tied to no subject (call Tie)`)
	require.ErrorIs(t, r.Tie(ctx, "metrics", "metric"), registry.ErrNotFound)
	register(t, r, "metric", one)
	register(t, r, "other", two)
	require.NoError(t, r.Tie(ctx, "metrics", "metric"))
	subject, err := r.SubjectOf(ctx, "metrics")
	require.NoError(t, err)
	require.Equal(t, "metric", subject)
	var used *registry.InUseError
	require.ErrorAs(t, r.Delete(ctx, "metric", 1), &used)
	require.Equal(t, []string{"metrics"}, used.Topics)
	require.ErrorContains(t, used, "tie it to another subject first")
	require.NoError(t, r.Tie(ctx, "metrics", "other"))
	require.NoError(t, r.Delete(ctx, "metric", 1))
	require.ErrorIs(t, r.Tie(ctx, "metrics", "metric"), registry.ErrNotFound, "all of its versions are deleted")
}

func TestBadInput(t *testing.T) {
	ctx := t.Context()
	js := jetStream(t)
	r := open(t, js, registry.Config{})
	for _, name := range []string{"", ".", "a.", ".a", "a..b", "a b", "a*", "a>", "ü", string(make([]byte, 300))} {
		_, err := r.Register(ctx, name, []byte(one))
		var bad *registry.NameError
		require.ErrorAs(t, err, &bad, "%q", name)
		require.ErrorAs(t, r.Tie(ctx, name, "x"), &bad)
		require.ErrorAs(t, r.Delete(ctx, name, 1), &bad)
		require.ErrorAs(t, r.SetCompatibility(ctx, name, registry.Full), &bad)
	}
	for _, text := range []string{``, `{`, `[]`, `{"type":"strin"}`, `{"$ref":"https://example.com/x.json"}`, `{"pattern":"("}`} {
		_, err := r.Register(ctx, "bad", []byte(text))
		var bad *schemas.SchemaError
		require.ErrorAs(t, err, &bad, text)
	}
	require.ErrorContains(t, r.SetCompatibility(ctx, "s", "sideways"), `"sideways" is no compatibility`)
	_, err := registry.Open(ctx, js, registry.Config{Compatibility: "x"})
	require.ErrorContains(t, err, `"x" is no compatibility`)
	var bucket *registry.BucketError
	_, err = registry.Open(ctx, js, registry.Config{Replicas: 3})
	require.ErrorAs(t, err, &bucket)
	require.ErrorContains(t, err, "it has 1 replicas, asked for 3")
	_, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "forgetful", TTL: 1e9})
	require.NoError(t, err)
	_, err = registry.Open(ctx, js, registry.Config{Bucket: "forgetful"})
	require.ErrorContains(t, err, "it forgets after 1s")
}

// TestABucketChangedByHand has values that this package did not write: they are told, never taken for schemas.
func TestABucketChangedByHand(t *testing.T) {
	ctx := t.Context()
	js := jetStream(t)
	r := open(t, js, registry.Config{})
	register(t, r, "s", one)
	kv, err := js.KeyValue(ctx, "schemas")
	require.NoError(t, err)
	e, err := kv.Get(ctx, "subject.s")
	require.NoError(t, err)
	var bucket *registry.BucketError
	for _, value := range []string{`{`, `7`, `{"versions":[{"number":2}]}`} {
		_, err := kv.Put(ctx, "subject.s", []byte(value))
		require.NoError(t, err)
		_, err = r.Latest(ctx, "s")
		require.ErrorAs(t, err, &bucket)
		_, err = r.Register(ctx, "s", []byte(two))
		require.ErrorAs(t, err, &bucket)
	}
	_, err = kv.Put(ctx, "subject.s", e.Value())
	require.NoError(t, err)
	keys, err := kv.Keys(ctx)
	require.NoError(t, err)
	for _, key := range keys {
		if key[:5] == "text." {
			_, err = kv.Put(ctx, key, []byte(two))
			require.NoError(t, err)
		}
	}
	_, err = r.Latest(ctx, "s")
	require.ErrorContains(t, err, "was changed by hand")
}
