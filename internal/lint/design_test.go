package lint

import (
	"fmt"
	"go/ast"
	"regexp"
	"sort"
	"strings"
)

// design is the file that the map of files and the table of goroutines stand in.
const design = "DESIGN.md"

// inTicks finds what stands between backquotes.
var inTicks = regexp.MustCompile("`([^`]+)`")

// mention is a path that a document names.
type mention struct {
	path string
	line int
	text string // what is said of it
}

// section gives the lines below a heading of the second level up to the next one, with the number of the first.
func section(text, heading string) (lines []string, first int, ok bool) {
	fenced := false
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		switch {
		case fenced || !strings.HasPrefix(line, "## "):
			if ok {
				lines = append(lines, line)
			}
		case ok:
			return lines, first, true
		case strings.TrimSpace(strings.TrimPrefix(line, "## ")) == heading:
			first, ok = i+2, true
		}
	}
	return lines, first, ok
}

// fileMap reads lines such as "- `stream/topic.go`: what it does"; several paths may share a line.
func fileMap(lines []string, first int) []mention {
	var all []mention
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "- `") {
			continue
		}
		paths, text, _ := strings.Cut(line, ":")
		for _, m := range inTicks.FindAllStringSubmatch(paths, -1) {
			all = append(all, mention{path: m[1], line: first + i, text: strings.TrimSpace(text)})
		}
	}
	return all
}

// goroutineTable reads the Go files that the first column of a table names.
func goroutineTable(lines []string, first int) []mention {
	var all []mention
	for i, line := range lines {
		row := strings.TrimSpace(line)
		if !strings.HasPrefix(row, "|") {
			continue
		}
		column, _, _ := strings.Cut(row[1:], "|")
		for _, m := range inTicks.FindAllStringSubmatch(column, -1) {
			if strings.HasSuffix(m[1], ".go") {
				all = append(all, mention{path: m[1], line: first + i})
			}
		}
	}
	return all
}

// checkFileMap wants each Go file that is no test in the file map once, and no other one that does not exist.
func checkFileMap(t *tree) []finding {
	lines, first, ok := section(string(t.texts[design]), "File map")
	if !ok {
		return []finding{{design, "has no section \"## File map\": list every Go file in it, as - `stream/topic.go`: what it does"}}
	}
	var found []finding
	listed := make(map[string]int)
	for _, m := range fileMap(lines, first) {
		place := fmt.Sprintf("%s:%d", design, m.line)
		_, exists := t.texts[m.path]
		switch {
		case !exists:
			found = append(found, finding{place, "lists " + m.path + ", which does not exist: delete the line or correct the path"})
		case listed[m.path] > 0:
			found = append(found, finding{place, fmt.Sprintf("lists %s again, after line %d: keep one", m.path, listed[m.path])})
		case m.text == "":
			found = append(found, finding{place, "says nothing of " + m.path + ": say after a colon what it does"})
		}
		listed[m.path] = m.line
	}
	for _, s := range t.sources {
		if !s.isTest() && listed[s.path] == 0 {
			found = append(found, finding{s.path, "is not in the file map of DESIGN.md: add a line - `" + s.path + "`: what it does"})
		}
	}
	return found
}

// checkGoroutines wants the files that start goroutines in the table of goroutines, and no others.
func checkGoroutines(t *tree) []finding {
	starts := make(map[string]ast.Node)
	var found []finding
	lines, first, ok := section(string(t.texts[design]), "Goroutines")
	listed := make(map[string]int)
	for _, m := range goroutineTable(lines, first) {
		listed[m.path] = m.line
	}
	if !ok {
		found = append(found, finding{design, "has no section \"## Goroutines\": give it a table whose first column names the files that start goroutines, in backquotes"})
	}
	for _, s := range t.sources {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if !startsGoroutine(n) {
				return true
			}
			if starts[s.path] == nil && listed[s.path] == 0 {
				found = append(found, s.at(n, "starts a goroutine, and the table of goroutines in DESIGN.md does not name the file: add who starts it, who ends it and "+
					"who waits, or do without"))
			}
			starts[s.path] = n
			return true
		})
	}
	var stale []string
	for p := range listed {
		if starts[p] == nil {
			stale = append(stale, p)
		}
	}
	sort.Strings(stale)
	for _, p := range stale {
		found = append(found, finding{fmt.Sprintf("%s:%d", design, listed[p]), "the table of goroutines names " + p + ", which starts none: correct the path or delete the row"})
	}
	return found
}

// startsGoroutine says whether a node is a go statement, or hands a function to the Go method of a group.
func startsGoroutine(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		return true
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		return ok && (sel.Sel.Name == "Go" || sel.Sel.Name == "TryGo") && len(n.Args) == 1
	}
	return false
}
