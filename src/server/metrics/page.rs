//! One metric after the other, as Prometheus wants them written.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use crate::metrics::HistogramValues;

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

/// Writes metrics; a name gets its unit, and a counter `_total`, behind it.
pub(super) struct Page<'a>(pub DescriptorEncoder<'a>);

impl Page<'_> {
    pub fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: V,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Counter)?;
        metric.encode_counter(&value, NO_EXEMPLAR)
    }

    pub fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: V,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    /// A counter for each value of some labels.
    pub fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: impl Iterator<Item = ([String; N], u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (texts, value) in values {
            let pairs = pairs(labels, &texts);
            metric
                .encode_family(&pairs)?
                .encode_counter(&value, NO_EXEMPLAR)?;
        }
        Ok(())
    }

    /// A gauge for each value of some labels.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; N],
        values: impl Iterator<Item = ([String; N], u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (texts, value) in values {
            let pairs = pairs(labels, &texts);
            metric.encode_family(&pairs)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: &HistogramValues,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(values.sum, values.count(), &values.buckets, None)
    }
}

fn pairs<'t, const N: usize>(
    names: [&'t str; N],
    texts: &'t [String; N],
) -> [(&'t str, &'t str); N] {
    std::array::from_fn(|i| (names[i], texts[i].as_str()))
}
