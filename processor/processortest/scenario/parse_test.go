package scenario

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/processor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneCase is a file with one case that has the given members beside its name, operator and steps.
func oneCase(members, steps string) string {
	return `{"family": "f", "cases": [{"name": "c", "operator": {"kind": "k"}, ` + members + `"steps": [` + steps + `]}]}`
}

const someInput = `{"input": {"topic": "t", "key": "k", "value": 1, "ts": 1}}`

func TestErrorsNameCaseAndStep(t *testing.T) {
	for want, file := range map[string]string{
		"family has no name":                     `{"cases": []}`,
		"case 1 (): not in the scenario format":  `{"family": "f", "cases": [{"steps": [{}], "operator": {"kind": "k"}}]}`,
		"case 1 (c): not in the":                 `{"family": "f", "cases": [{"name": "c", "steps": [{}]}]}`,
		"it has no steps":                        oneCase("", ""),
		"the operator has no kind":               `{"family": "f", "cases": [{"name": "c", "operator": {}, "steps": [{}]}]}`,
		"case 1 (c): step 2: not in the":         oneCase("", someInput+`, {"input": {"topic": "t", "key": "k", "ts": 1}}`),
		"must have a key and a value":            oneCase("", `{"input": {"topic": "t", "value": "v", "ts": 1}}`),
		"the input has no ts":                    oneCase("", `{"input": {"topic": "t", "key": "k", "value": "v"}}`),
		"the input has no topic":                 oneCase("", `{"input": {"key": "k", "value": "v", "ts": 1}}`),
		"a step does one thing":                  oneCase("", `{"restart": true, "flush": true}`),
		"asserts its outputs in one way":         oneCase("", `{"expect": [], "expect_set": []}`),
		"null where a list":                      oneCase("", `{"expect": null}`),
		"order and prefix say how expect":        oneCase("", `{"order": "any"}`),
		"expect_last is one output":              oneCase("", `{"expect_last": []}`),
		`the name "c" is taken`:                  `{"family": "f", "cases": [{"name": "c", "operator": {"kind": "k"}, "steps": [{}]}, {"name": "c", "operator": {"kind": "k"}, "steps": [{}]}]}`,
		"not in the scenario format: json":       `{"family": 1}`,
		"within \"/input/ts\"":                   oneCase("", `{"input": {"topic": "t", "key": "k", "value": 1, "ts": "now"}}`),
		"not in the scenario format: jsontext: ": `{"family": "f", "cases": [`,
	} {
		_, err := Parse([]byte(file))
		require.ErrorIs(t, err, ErrFormat, file)
		require.ErrorContains(t, err, want, file)
	}
}

func TestABrokenCaseLeavesTheOthers(t *testing.T) {
	cases, err := Parse([]byte(`{"family": "f", "cases": [{"name": "a", "steps": [{}]}, {"name": "b", "operator": {"kind": "k"}, "steps": [` + someInput + `]}]}`))
	require.ErrorContains(t, err, "case 1 (a)")
	require.Len(t, cases, 1)
	require.Equal(t, "b", cases[0].Name)
}

func TestWhatIsNotKnownIsNotApplicable(t *testing.T) {
	for want, file := range map[string]string{
		`the case has the field "pre"`:                    oneCase(`"pre": [], `, someInput),
		"depends on the retention":                        oneCase(`"retention_dependent": true, `, someInput),
		`step 2: not applicable: the step has the field`:  oneCase("", someInput+`, {"expect_by_sink": {}}`),
		`the input has the field "partition"`:             oneCase("", `{"input": {"topic": "t", "key": "k", "value": 1, "ts": 1, "partition": 3}}`),
		`an expected output has the field "old"`:          oneCase("", `{"expect": [{"key": "k", "old": "v"}]}`),
		`expect_table has the field "range"`:              oneCase("", `{"expect_table": {"entries": [], "range": 1}}`),
		`order "sorted" is not known`:                     oneCase("", `{"expect": [], "order": "sorted"}`),
		"the value 1.5: keys and values are texts":        oneCase("", `{"input": {"topic": "t", "key": "k", "value": 1.5, "ts": 1}}`),
		`the value {"a":1}`:                               oneCase("", `{"expect": [{"value": {"a":1}}]}`),
		"headers [1]":                                     oneCase("", `{"input": {"topic": "t", "key": "k", "value": 1, "ts": 1, "headers": [1]}}`),
		"header h: 1 is neither":                          oneCase("", `{"input": {"topic": "t", "key": "k", "value": 1, "ts": 1, "headers": {"h": 1}}}`),
		`not applicable: the family has the field "more"`: `{"family": "f", "more": 1, "cases": [{"name": "c", "operator": {"kind": "k"}, "steps": [{}]}]}`,
	} {
		cases, err := Parse([]byte(file))
		require.NoError(t, err, file)
		require.Len(t, cases, 1)
		require.ErrorIs(t, cases[0].Reason, ErrNotApplicable, file)
		require.ErrorContains(t, cases[0].Reason, want, file)
	}
}

func TestUnknownFieldsOfAnOperatorAreNotApplicable(t *testing.T) {
	var op Operator
	require.NoError(t, op.UnmarshalJSON([]byte(`{"kind": "k", "a": 1, "cached": true}`)))
	var spec struct {
		Kind string `json:"kind"`
		A    int    `json:"a"`
	}
	err := op.Decode(&spec)
	require.ErrorIs(t, err, ErrNotApplicable)
	require.ErrorContains(t, err, "cached")
	require.Equal(t, 1, spec.A)
}

func TestDeparturesAreStrict(t *testing.T) {
	for want, file := range map[string]string{
		"it is the number of a departure":    `{"c": {"departure": "4", "final_drops": 1}}`,
		"does not say what our result is":    `{"c": {"departure": "D4"}}`,
		"steps are counted from 1":           `{"c": {"departure": "D4", "steps": {"0": {}}}}`,
		"not what happens":                   `{"c": {"departure": "D4", "steps": {"1": {"restart": true}}}}`,
		"not in the scenario format: json: ": `{"c": {"reason": "D4"}}`,
	} {
		_, err := parseDepartures([]byte(file))
		require.ErrorContains(t, err, want, file)
	}
	list, err := parseDepartures([]byte(`{"c": {"departure": "D4", "why": "w", "steps": {"1": {"expect": [{"value": 2}]}}, "final_drops": 3}}`))
	require.NoError(t, err)
	cases, err := Parse([]byte(oneCase(`"final_drops": 0, `, `{"input": {"topic": "t", "key": "k", "value": 1, "ts": 1}, "expect": []}`)))
	require.NoError(t, err)
	c, err := list["c"].apply(cases[0])
	require.NoError(t, err)
	require.Equal(t, 3, *c.finalDrops)
	require.Equal(t, "2", c.steps[0].Outputs.Expect.items[0].Value.Text)
	require.Equal(t, "1", c.steps[0].Input.Value.Text)
	require.Empty(t, cases[0].steps[0].Outputs.Expect.items, "the case itself must not change")
	_, err = departure{number: "D4", steps: map[int]step{7: {}}}.apply(cases[0])
	require.ErrorContains(t, err, "there is no step 8")
}

func TestFoldersAreReadWithThoseInThem(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "deep", "er"), 0o700))
	for _, name := range []string{"a.json", "departures.json", "notes.txt", "deep/b.json", "deep/er/c.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600))
	}
	found, err := files(dir)
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "a.json"), filepath.Join(dir, "deep", "b.json"), filepath.Join(dir, "deep", "er", "c.json")}, found)
	_, err = files(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = parseFile(filepath.Join(dir, "a.json"))
	require.ErrorContains(t, err, "a.json: not in the scenario format")
}

func TestAFurtherFolderCountsFromTheRootOfTheModule(t *testing.T) {
	dir, err := findFolder("join/testdata")
	require.NoError(t, err)
	require.DirExists(t, dir)
	_, err = findFolder("no/such/folder")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = findFolder("go.mod")
	require.ErrorContains(t, err, "is no folder")
	same, err := findFolder(dir)
	require.NoError(t, err)
	require.Equal(t, dir, same)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	same, err = findFolder(link)
	require.NoError(t, err)
	require.Equal(t, dir, same)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		oneCase("", someInput), oneCase(`"final_drops": 1, `, `{"expect": [{"key": null, "value": -3, "window": [0, 1], "headers": {"a": ["b"]}}], "order": "any"}`),
		oneCase("", `{"expect_table": {"entries": [{"key": 1}]}}, {"restart": true}`), `{"c": {"departure": "D4", "steps": {"1": {}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := parseDepartures(data); err == nil {
			for _, d := range list {
				require.Regexp(t, departureNumber, d.number)
			}
		}
		cases, err := Parse(data)
		if err != nil {
			return
		}
		for i := range cases {
			c := &cases[i]
			require.NotEmpty(t, c.Name)
			require.NotEmpty(t, c.Operator.Kind)
			require.NotEmpty(t, c.steps)
			if c.Reason != nil {
				require.ErrorIs(t, c.Reason, ErrNotApplicable)
			}
			if _, _, err := wire(c, "app", nil, processor.InMemory); c.Reason == nil {
				require.ErrorIs(t, err, ErrNotApplicable, "there is no operator to make")
			}
		}
	})
}
