package lint

import (
	"slices"
	"strings"
)

// area is a part of the tree and what its packages may import beside the standard library and packages of their own area.
type area struct {
	root string
	// ours are folders of this module; a folder stands for itself only.
	ours []string
	// oursInTests are those that tests may import too.
	oursInTests []string
	// theirs are other modules, with all that lies below them. Tests may import any.
	theirs []string
}

const (
	natsGo     = "github.com/nats-io/nats.go"
	nuid       = "github.com/nats-io/nuid"
	natsServer = "github.com/nats-io/nats-server"
	orbit      = "github.com/synadia-io/orbit.go"
	zap        = "go.uber.org/zap"
	json       = "github.com/go-json-experiment/json"
	jsonSchema = "github.com/santhosh-tekuri/jsonschema"
	exprLang   = "github.com/expr-lang/expr"
	yaml       = "go.yaml.in/yaml/v3"
	goMail     = "github.com/wneessen/go-mail"
	pebble     = "github.com/cockroachdb/pebble/v2"
	prometheus = "github.com/prometheus/client_golang"
	sys        = "golang.org/x/sys"
	anyModule  = "*"
)

// public are the packages that users import.
var public = []string{"stream", "stream/streamtest", "processor", "processor/processortest", "processor/processortest/scenario", "processor/prom", "join", "alerting", "alerting/rulesfile", "alerting/rulebucket", "alerting/notify", "alerting/notify/receivers", "alerting/notify/silencebucket", "alerting/notify/api", "alerting/notify/notifyfile", "alerting/cases", "alerting/alertingtest", "schemas", "schemas/registry", "embedded", "embedded/embeddedtest"}

// importTable says who may import whom: arrows point down. The first area that holds a folder counts.
var importTable = []area{
	{root: "examples", ours: public, theirs: []string{anyModule}},
	{root: "cmd", ours: public, theirs: []string{anyModule}},
	{root: "alerting/rulesfile", ours: []string{"alerting", "alerting/internal/document", "schemas"}, theirs: []string{exprLang}},
	{root: "alerting/rulebucket", ours: []string{"alerting", "alerting/internal/bucket", "stream"}, oursInTests: []string{"processor"}, theirs: []string{natsGo, zap, json}},
	{root: "alerting/internal/bucket", ours: []string{"alerting", "stream"}, theirs: []string{natsGo, zap, json}},
	{root: "alerting/notify/silencebucket", ours: []string{"alerting/notify", "alerting/internal/bucket", "stream"}, oursInTests: []string{"alerting", "processor"}, theirs: []string{natsGo, zap, json}},
	{root: "alerting/notify/api", ours: []string{"alerting", "alerting/internal/bucket", "alerting/notify", "alerting/notify/silencebucket", "processor", "stream"}, oursInTests: []string{"alerting/notify/notifyfile"}, theirs: []string{natsGo, zap, json}},
	{root: "alerting/internal/safetemplate"},
	{root: "alerting/notify/receivers", ours: []string{"alerting/notify", "alerting/internal/safetemplate", "processor"}, oursInTests: []string{"alerting", "alerting/notify/notifyfile", "stream"}, theirs: []string{natsGo, goMail}},
	{root: "alerting/notify/notifyfile", ours: []string{"alerting/notify", "alerting/internal/document"}},
	{root: "alerting/notify", ours: []string{"alerting", "processor", "stream"}, oursInTests: []string{"processor/processortest"}},
	{root: "alerting/cases", ours: []string{"alerting", "alerting/internal/document"}},
	{root: "alerting/internal/document", theirs: []string{json, yaml}},
	{root: "alerting", ours: []string{"alerting/internal/safetemplate", "processor", "stream"}, oursInTests: []string{"join", "processor/processortest"}, theirs: []string{json}},
	{root: "join", ours: []string{"processor", "stream"}, oursInTests: []string{"processor/processortest", "processor/processortest/scenario"}, theirs: []string{json}},
	{root: "processor/prom", ours: []string{"processor"}, oursInTests: []string{"stream"}, theirs: []string{prometheus}},
	{root: "processor", ours: []string{"stream"}, theirs: []string{zap, json, pebble}},
	{root: "stream", theirs: []string{natsGo, nuid, orbit, zap, json}},
	{root: "schemas/registry", ours: []string{"schemas"}, oursInTests: []string{"processor", "processor/processortest", "stream"}, theirs: []string{natsGo, json}},
	{root: "schemas", theirs: []string{json, jsonSchema}},
	{root: "embedded", theirs: []string{natsServer, natsGo, zap, sys}},
	{root: "internal"},
}

// allTests are the folders of this module that every test may import.
var allTests = []string{"embedded", "embedded/embeddedtest", "internal/benchtable", "internal/propertytest"}

// testModules are there for tests; a library that imports one makes its users link it.
var testModules = []string{"github.com/stretchr/testify", "go.uber.org/goleak", "pgregory.net/rapid"}

// checkImports enforces importTable.
func checkImports(t *tree) []finding {
	var found []finding
	for _, s := range t.sources {
		a, ok := areaOf(s.dir())
		if !ok {
			found = append(found, finding{s.path, "no area of the import table holds this folder: give it a row in importTable of internal/lint"})
			continue
		}
		for _, spec := range s.ast.Imports {
			if why := a.refuses(s, importOf(spec)); why != "" {
				found = append(found, s.at(spec, "imports %s: %s", importOf(spec), why))
			}
		}
	}
	return found
}

func areaOf(dir string) (area, bool) {
	for _, a := range importTable {
		if within(dir, a.root) {
			return a, true
		}
	}
	return area{}, false
}

// refuses says why a file must not import a package, or nothing if it may.
func (a area) refuses(s *source, importPath string) string {
	if importPath == module {
		return "there is no package in the root of the module"
	}
	if dir, ok := strings.CutPrefix(importPath, module+"/"); ok {
		return a.refusesOurs(s, dir)
	}
	if importPath == "C" {
		return "cgo would take away plain cross compilation: write it in Go"
	}
	if first, _, _ := strings.Cut(importPath, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if within(importPath, natsServer) && a.root != "embedded" {
		return "only embedded may import nats-server: use embedded, or embeddedtest in tests"
	}
	if s.isTestCode() {
		return ""
	}
	if withinAny(importPath, testModules) {
		return "it is for tests only: move this code to a _test.go file or to a package whose name ends in test"
	}
	for _, m := range a.theirs {
		if m == anyModule || within(importPath, m) {
			return ""
		}
	}
	switch {
	case a.root == "internal":
		return "packages below internal are leaves and take the standard library only"
	case within(importPath, natsGo):
		return a.root + " must not name a NATS type: let stream do it, and import stream"
	}
	return a.root + " does not depend on this module: do without, or say why in docs/adr and add it to importTable of internal/lint"
}

func (a area) refusesOurs(s *source, dir string) string {
	if isTestDir(dir) && !s.isTestCode() {
		return "it serves tests only: import it in _test.go files"
	}
	if within(dir, "examples") || within(dir, "cmd") {
		if sameProgram(s.dir(), dir) {
			return ""
		}
		return "it belongs to another program: what two programs need wants a package of its own"
	}
	if within(dir, a.root) || slices.Contains(a.ours, dir) {
		return ""
	}
	if s.isTestCode() && (slices.Contains(allTests, dir) || slices.Contains(a.oursInTests, dir)) {
		return ""
	}
	switch {
	case within(dir, "embedded"):
		return "the server in process is for tests, examples and cmd: take a *nats.Conn or a stream.Client instead"
	case strings.Contains(dir, "internal/"):
		return "it is internal to others: use what their public packages offer"
	}
	return "imports point down (examples -> join, alerting -> processor -> stream -> nats.go): turn the dependency round, or move what both need down"
}

// sameProgram says whether both folders belong to one program, such as examples/healthmonitoring.
func sameProgram(from, to string) bool {
	f, t := strings.Split(from, "/"), strings.Split(to, "/")
	return len(f) > 1 && len(t) > 1 && f[0] == t[0] && f[1] == t[1]
}
