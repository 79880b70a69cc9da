"""An alarm may watch an expression over several metrics.

AWS (CloudFormation Template Reference, AWS::CloudWatch::Alarm): Metrics holds the metrics and the expression, in the place of
MetricName, Namespace and Statistic. Plain MiniStack refuses such an alarm, and with it the stack. Here it is made, and keeps its
first state: expressions are not computed.
"""

from typing import Any

from ministack.services.cloudformation import provisioners

# A metric that nobody reports: the alarm is never evaluated.
_NOTHING = {"Namespace": "local/expressions", "MetricName": "not-computed"}


def apply() -> None:
    record = provisioners._cw_metric_alarm_record

    def record_with_expressions(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        if not metrics:
            return record(name, properties)
        if any(member in properties for member in ("MetricName", "Namespace", "Statistic", "Dimensions", "Period")):
            raise ValueError("Metrics and MetricName cannot both be given")
        watched = [metric for metric in metrics if metric.get("ReturnData", True) not in (False, "false")]
        if len(watched) != 1:
            raise ValueError("exactly one of Metrics must have ReturnData")
        plain = {key: value for key, value in properties.items() if key != "Metrics"}
        return record(name, {**plain, **_NOTHING})

    provisioners._cw_metric_alarm_record = record_with_expressions
