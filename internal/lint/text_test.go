package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
)

// machinePaths finds paths and hosts that are true on one machine only. A letter, digit or dot before the slash makes it part
// of something longer, such as an address. The words are put together here, so that this file does not hold what it looks for.
var machinePaths = regexp.MustCompile(`(?:^|[^\w.-])(/(?:` + `work|root|home|Users` + `)/)` +
	`|\b(` + `proxy\.golang|sum\.golang|registry\.npmjs|files\.pythonhosted|pypi\.org|goproxy\.` + `)`)

// checkTexts refuses machine paths and the hosts of registries in everything that is text.
func checkTexts(t *tree) []finding {
	var names []string
	for name := range t.texts {
		names = append(names, name)
	}
	sort.Strings(names)
	var found []finding
	for _, name := range names {
		data := t.texts[name]
		if isTestdata(name) || bytes.IndexByte(data, 0) >= 0 {
			continue // recorded input may say anything; the rest is not text
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if m := machinePaths.FindSubmatch(line); m != nil {
				what := string(m[1]) + string(m[2])
				found = append(found, finding{fmt.Sprintf("%s:%d", name, i+1), what + " belongs to one machine: use a path inside the project, t.TempDir, or a setting"})
			}
		}
	}
	return found
}
