{{- /*
The charts make their objects from the files of the kustomizations, which lie in files/, and apply the patches of the overlays as
kustomize does. So an object is written down once. Values change what was read.
*/}}

{{- /* kustomize.text (list $ FILE) is a file with the names of this installation, by the chart's own template "renamed". */}}
{{- define "kustomize.text" -}}
{{- $root := index . 0 }}
{{- $text := $root.Files.Get (printf "files/%s" (index . 1)) }}
{{- if not $text }}
{{- fail (printf "files/%s is empty or missing: files is a link to a folder of this repository; take the chart from there or from a package of it" (index . 1)) }}
{{- end }}
{{- include "renamed" (list $root $text) }}
{{- end }}

{{- /* kustomize.objects (list $ FILE) are the documents of a file, as a JSON list. */}}
{{- define "kustomize.objects" -}}
{{- $objects := list }}
{{- range regexSplit "(?m)^---$" (include "kustomize.text" .) -1 }}
{{- with fromYaml . }}
{{- $objects = append $objects . }}
{{- end }}
{{- end }}
{{- toJson $objects }}
{{- end }}

{{- /* kustomize.patch (list OBJECT PATCH) changes an object by a strategic merge patch. New items of lists come first. */}}
{{- define "kustomize.patch" -}}
{{- $object := index . 0 }}
{{- range $key, $value := index . 1 }}
{{- $old := get $object $key | default dict }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $object $key }}
{{- else if and (kindIs "map" $value) (hasKey $object $key) }}
{{- include "kustomize.patch" (list $old $value) }}
{{- else if has $key (list "containers" "volumes" "volumeMounts") }}
{{- $_ := set $object $key (include "kustomize.items" (list ($old | default list) $value (eq $key "volumeMounts" | ternary "mountPath" "name")) | fromJsonArray) }}
{{- else }}
{{- $_ := set $object $key $value }}
{{- end }}
{{- end }}
{{- end }}

{{- /* kustomize.items (list ITEMS PATCHES NAME) is a list of items after patches to it; an item is known by its field NAME. */}}
{{- define "kustomize.items" -}}
{{- $name := index . 2 }}
{{- $items := index . 0 }}
{{- $new := list }}
{{- range $patch := index . 1 }}
{{- $found := false }}
{{- $kept := list }}
{{- range $item := $items }}
{{- if ne (get $item $name) (get $patch $name) }}
{{- $kept = append $kept $item }}
{{- else }}
{{- $found = true }}
{{- if ne (get $patch "$patch") "delete" }}
{{- include "kustomize.patch" (list $item $patch) }}
{{- $kept = append $kept $item }}
{{- end }}
{{- end }}
{{- end }}
{{- $items = $kept }}
{{- if not $found }}
{{- $new = append $new $patch }}
{{- end }}
{{- end }}
{{- toJson (concat $new $items) }}
{{- end }}

{{- /* kustomize.overlay (list $ OBJECT FILE) changes an object by those patches of a file that are for it. */}}
{{- define "kustomize.overlay" -}}
{{- $object := index . 1 }}
{{- range include "kustomize.objects" (list (index . 0) (index . 2)) | fromJsonArray }}
{{- if and (eq .kind $object.kind) (eq .metadata.name $object.metadata.name) }}
{{- include "kustomize.patch" (list $object .) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* image (list $ IMAGE) is a reference: by digest, with the tag if one is given too, or else by tag. */}}
{{- define "image" -}}
{{- $image := index . 1 }}
{{- if $image.digest }}
{{- printf "%s%s@%s" $image.repository (empty $image.tag | ternary "" (printf ":%s" $image.tag)) $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 0).Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* kustomize.print (list $ OBJECT) is an object with the namespace and the labels of the release. */}}
{{- define "kustomize.print" -}}
{{- $root := index . 0 }}
{{- $object := index . 1 }}
{{- $clusterWide := list "ClusterRole" "ClusterRoleBinding" "CSIDriver" "MutatingWebhookConfiguration" "ValidatingWebhookConfiguration"
  "ValidatingAdmissionPolicy" "ValidatingAdmissionPolicyBinding" "SecurityContextConstraints" }}
{{- if has $object.kind $clusterWide }}
{{- $_ := unset $object.metadata "namespace" }}
{{- else }}
{{- $_ := set $object.metadata "namespace" $root.Release.Namespace }}
{{- end }}
{{- $labels := dict "app.kubernetes.io/managed-by" $root.Release.Service "app.kubernetes.io/instance" $root.Release.Name
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") }}
{{- $_ := set $object.metadata "labels" (merge $labels ($object.metadata.labels | default dict)) }}
---
{{ toYaml $object }}
{{ end }}

{{- /* kustomize.file (list $ FILE) prints all objects of a file. */}}
{{- define "kustomize.file" -}}
{{- $root := index . 0 }}
{{- range include "kustomize.objects" . | fromJsonArray }}
{{- include "kustomize.print" (list $root .) }}
{{- end }}
{{- end }}
