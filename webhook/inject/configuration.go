package inject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// maxAnnotations is how many bytes all keys and values of one object's annotations may have: the API server's limit.
const maxAnnotations = 256 * 1024

// configurationPart is Envoy's configuration in annotations, which [configVolume] makes files of.
var configurationPart = part{
	mistakes: configurationMistakes,
	wanted:   func(i injection) bool { return i.intent.Mode.Envoy() },
	add: func(i injection, pod *corev1.Pod) {
		pod.Annotations = merged(pod.Annotations, generated(i.config))
		i.status.Envoy = envoyStatus(i.intent, ConfigDigest(pod))
	},
	remove: func(pod *corev1.Pod, _ Status) {
		for _, f := range configFiles() {
			delete(pod.Annotations, f.annotation)
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		var mistakes []intent.Mistake
		for _, f := range configFiles() {
			if arrived.Annotations[f.annotation] != injected.Annotations[f.annotation] {
				mistakes = append(mistakes, isAltered("annotation "+f.annotation))
			}
		}
		return mistakes
	},
}

// configurationMistakes find a pod whose Envoy others than the pod could talk to.
func configurationMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	if !pod.Spec.HostNetwork || !i.intent.Mode.Envoy() {
		return nil
	}
	hint := fmt.Sprintf("set hostNetwork: false; or, for an app that takes its SVID from the Workload API itself, write %s: %s",
		intent.AnnotationMode, intent.ModeSocket)
	if others := intent.OnlyWithEnvoy(pod); len(others) > 0 {
		hint += " and remove " + strings.Join(others, ", ")
	}
	return []intent.Mistake{{
		Where: "spec.hostNetwork",
		What:  "every process of the node could use the pod's identity through the node's loopback",
		Hint:  hint,
	}}
}

// configFile is a file of Envoy's configuration, with the annotation that it is made of.
type configFile struct{ file, annotation string }

func configFiles() []configFile {
	files := []configFile{
		{templates.BootstrapFile, intent.AnnotationBootstrap},
		{templates.ListenersFile, intent.AnnotationListeners},
		{templates.ClustersFile, intent.AnnotationClusters},
		{templates.AuthorizationFile, intent.AnnotationAuthorization},
		{templates.CertificateFile, intent.AnnotationCertificate},
	}
	for n := range ir.MaxCASecrets {
		files = append(files, configFile{templates.CAFile(n), intent.AnnotationCA(n)})
	}
	return files
}

// regenerated are the annotations that follow the user's on a running pod.
var regenerated = []string{intent.AnnotationListeners, intent.AnnotationClusters, intent.AnnotationAuthorization}

// generated is the configuration by the annotation that carries it.
func generated(cfg templates.Config) map[string]string {
	all := map[string]string{
		intent.AnnotationBootstrap:     cfg.Bootstrap,
		intent.AnnotationListeners:     cfg.Listeners,
		intent.AnnotationClusters:      cfg.Clusters,
		intent.AnnotationAuthorization: cfg.Authorization,
	}
	if cfg.Certificate != "" {
		all[intent.AnnotationCertificate] = cfg.Certificate
	}
	for n, content := range cfg.CAs {
		if content != "" {
			all[intent.AnnotationCA(n)] = content
		}
	}
	return all
}

// ConfigOf is the configuration that an injected pod carries. One without Envoy has none.
func ConfigOf(pod *corev1.Pod) templates.Config {
	config := templates.Config{
		Bootstrap:     pod.Annotations[intent.AnnotationBootstrap],
		Listeners:     pod.Annotations[intent.AnnotationListeners],
		Clusters:      pod.Annotations[intent.AnnotationClusters],
		Authorization: pod.Annotations[intent.AnnotationAuthorization],
		Certificate:   pod.Annotations[intent.AnnotationCertificate],
	}
	for n := range config.CAs {
		config.CAs[n] = pod.Annotations[intent.AnnotationCA(n)]
	}
	return config
}

// configVolume has the generated configuration as files.
func configVolume(i injection) *corev1.VolumeSource {
	if !i.intent.Mode.Envoy() {
		return nil
	}
	files := &corev1.DownwardAPIVolumeSource{}
	annotations := generated(i.config)
	for _, f := range configFiles() {
		if _, ok := annotations[f.annotation]; !ok {
			continue
		}
		files.Items = append(files.Items, corev1.DownwardAPIVolumeFile{
			Path:     f.file,
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: annotationPath(f.annotation)},
		})
	}
	return &corev1.VolumeSource{DownwardAPI: files}
}

func isConfigVolume(v corev1.Volume) bool {
	showsBootstrap := func(item corev1.DownwardAPIVolumeFile) bool {
		return item.FieldRef != nil && item.FieldRef.FieldPath == annotationPath(intent.AnnotationBootstrap)
	}
	return v.Name == ConfigVolume && v.DownwardAPI != nil && slices.ContainsFunc(v.DownwardAPI.Items, showsBootstrap)
}

// readsJSON says whether the Envoy of an injected pod looks for JSON: versions before this one gave its files such names.
func readsJSON(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return isConfigVolume(v) && slices.ContainsFunc(v.DownwardAPI.Items, func(item corev1.DownwardAPIVolumeFile) bool {
			return item.Path == templates.JSONFile(templates.BootstrapFile)
		})
	})
}

// annotationPath is an annotation as the downward API names it.
func annotationPath(key string) string { return fmt.Sprintf("metadata.annotations['%s']", key) }

func merged(into, from map[string]string) map[string]string {
	if into == nil {
		return from
	}
	maps.Copy(into, from)
	return into
}

// sizeMistakes measures the annotations as the API server does, so that the refusal can say what to do. More are bytes
// that are to be added.
func sizeMistakes(pod *corev1.Pod, more int) []intent.Mistake {
	total := more
	for k, v := range pod.Annotations {
		total += len(k) + len(v)
	}
	if total <= maxAnnotations {
		return nil
	}
	return []intent.Mistake{{
		Where: "annotations",
		What: fmt.Sprintf("expected at most %d bytes together with the generated configuration, got %d",
			maxAnnotations, total),
		Hint: "use fewer upstreams, or prefixes instead of long lists of peers",
	}}
}
