package scenario

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/embedded/embeddedtest"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// echo is an operator that gives every value back, twice if it is "twice", and refuses "bad" and records without a key.
func echo(t *Topology, op Operator) (Result, error) {
	var spec struct {
		Kind  string `json:"kind"`
		Input Source `json:"input"`
	}
	if err := op.Decode(&spec); err != nil {
		return Result{}, err
	}
	in, err := t.Values(spec.Input)
	if err != nil {
		return Result{}, err
	}
	return Pointers(processor.FlatMap(in, func(v string) []string {
		switch v {
		case "twice":
			return []string{v, v}
		case "bad":
			panic("bad")
		}
		return []string{v}
	})), nil
}

var kinds = map[string]Bind{"echo": echo}

// playAll runs one case with the given steps in all three ways and returns what each says.
func playAll(t *testing.T, members, steps string) (errs []error) {
	t.Helper()
	cases, err := Parse([]byte(`{"family": "f", "cases": [{"name": "c", "operator": {"kind": "echo", "input": "t"}, ` + members + `"steps": [` + steps + `]}]}`))
	require.NoError(t, err)
	require.NoError(t, cases[0].Reason)
	client, err := stream.NewClient(embeddedtest.Connect(t), stream.Config{})
	require.NoError(t, err)
	for _, way := range []string{"straight", "crashes", "server"} {
		topology, made, err := wire(&cases[0], way, kinds, processor.InMemory)
		require.NoError(t, err)
		var w world
		if way == "server" {
			w, err = newServed(client, topology, made, t.TempDir())
			require.NoError(t, err)
		} else {
			w = newDriven(t, topology, made.out())
		}
		errs = append(errs, newPlay(&cases[0], made, w, way == "crashes").run())
		require.NoError(t, w.close())
	}
	return errs
}

func in(value, more string) string {
	return `{"input": {"topic": "t", "key": "k", "value": ` + value + `, "ts": 5}` + more + `}`
}

// TestWrongExpectationsAreFound breaks one thing in a case that is right, in every way in which it is run.
func TestWrongExpectationsAreFound(t *testing.T) {
	for _, c := range []struct{ members, steps, want string }{
		{"", in(`"a"`, `, "expect": [{"key": "k", "value": "a", "ts": 5}]`), ""},
		{"", in(`"a"`, `, "expect": []`), `step 1: expect:`},
		{"", in(`"twice"`, `, "expect": [{"value": "twice"}]`), `got  "k": "twice" @5`},
		{"", in(`"a"`, "") + "," + in(`"b"`, `, "expect": [{"value": "a"}, {"value": "b"}]`), ""},
		{"", in(`"a"`, "") + "," + in(`"b"`, `, "expect": [{"value": "b"}]`), "step 2"},
		{"", in(`"a"`, `, "expect": [{"value": "a"}]`) + "," + in(`"b"`, ""), "after the last step: no more outputs"},
		{"", in(`"a"`, `, "expect_drops": 0`) + "," + in(`"b"`, ""), ""},
		{`"final_drops": 1, `, in(`"bad"`, ""), ""},
		{`"final_drops": 0, `, in(`"bad"`, ""), "final_drops: want 0, got 1"},
		{`"final_drops": 1, `, in(`null`, ""), ""},
		{`"final_drops": 2, `, in(`null`, ""), "a tombstone"},
		{"", in(`"bad"`, `, "expect_error": true`), ""},
		{"", in(`"a"`, `, "expect_error": true`), "the step did not fail"},
		{"", in(`"bad"`, `, "expect_drops": 1`) + "," + `{"restart": true, "expect_drops": 1}`, ""},
		{"", in(`"bad"`, `, "expect_drops": 0`), "expect_drops: want 0, got 1"},
	} {
		for _, err := range playAll(t, c.members, c.steps) {
			if c.want == "" {
				require.NoError(t, err, "%s", c.steps)
			} else {
				require.ErrorContains(t, err, c.want, "%s", c.steps)
			}
		}
	}
}

func TestCasesThatCannotBeMadeSayWhy(t *testing.T) {
	for want, file := range map[string]string{
		`no operator of kind "k" is known`:        oneCase("", someInput),
		`the operator does not read topic "t"`:    `{"family": "f", "cases": [{"name": "c", "operator": {"kind": "echo", "input": "u"}, "steps": [` + someInput + `]}]}`,
		`a topic has no name`:                     `{"family": "f", "cases": [{"name": "c", "operator": {"kind": "echo", "input": ""}, "steps": [{}]}]}`,
		`no operator of kind "other"`:             `{"family": "f", "cases": [{"name": "c", "operator": {"kind": "echo", "input": {"kind": "other"}}, "steps": [{}]}]}`,
		`operator echo has no table to look into`: `{"family": "f", "cases": [{"name": "c", "operator": {"kind": "echo", "input": "t"}, "steps": [{"expect_table": {"entries": []}}]}]}`,
	} {
		cases, err := Parse([]byte(file))
		require.NoError(t, err)
		_, _, err = wire(&cases[0], "app", kinds, processor.InMemory)
		require.ErrorContains(t, err, want)
	}
}
