package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/schemas"
	"github.com/rossby-streams/rossby/stream"
)

// schemaSet is what validates at the pipeline's edges.
type schemaSet struct {
	metric stream.Codec[health.Metric]
	syslog stream.Codec[health.Syslog]
	// ofMetric and ofSyslog are the schemas themselves.
	ofMetric, ofSyslog *schemas.Schema
}

// rules reads the rules file, or the built-in rules if there is none; the schemas say what its expressions may name.
func (s *schemaSet) rules(path string) (*health.Rules, error) {
	if path == "" {
		return health.ParseRules(health.DefaultRules(), s.ofMetric, s.ofSyslog)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the rules file: %w", err)
	}
	rules, err := health.ParseRules(data, s.ofMetric, s.ofSyslog)
	if err != nil {
		return nil, fmt.Errorf("the rules file %s: %w", path, err)
	}
	return rules, nil
}

// reader reads the rules of a bucket, beside those of the file; nil without a bucket.
func (s *schemaSet) reader(bucket string, rules *health.Rules) readRule {
	if bucket == "" {
		return nil
	}
	return health.RuleReader(s.ofMetric, s.ofSyslog, rules.Within, rules.Rules)
}

// loadSchemas takes the built-in schemas, or those of the same name in dir where it has them.
func loadSchemas(dir string) (*schemaSet, error) {
	metric, err := loadSchema(dir, "metric")
	if err != nil {
		return nil, err
	}
	syslog, err := loadSchema(dir, "syslog")
	if err != nil {
		return nil, err
	}
	return &schemaSet{
		metric: schemas.Codec[health.Metric](metric), syslog: schemas.Codec[health.Syslog](syslog), ofMetric: metric, ofSyslog: syslog,
	}, nil
}

func loadSchema(dir, name string) (*schemas.Schema, error) {
	if dir == "" {
		return schemas.Builtin(name)
	}
	file := filepath.Join(dir, name+".json")
	if _, err := os.Stat(file); os.IsNotExist(err) {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("the folder of schemas: %w", err)
		}
		return schemas.Builtin(name)
	}
	return schemas.Load(os.DirFS(dir), name+".json")
}
